"""The command that merges runs."""

from __future__ import annotations

from pathlib import Path

import click

from tokenbench.commands.opening import check_distinct, open_run
from tokenbench.commands.options import Place, examples, offline_command
from tokenbench.commands.output import say
from tokenbench.errors import UsageError

__all__ = ["merge"]


@click.command(epilog=examples("tokenbench merge monday tuesday wednesday -o week"))
@click.argument("folders", metavar="RUN...", nargs=-1, required=True, type=Place())
@click.option("-o", "--output", required=True, type=Place(file_okay=False), help="New run directory.")
@offline_command
def merge(folders: tuple[Path, ...], output: Path) -> None:
    """Merge runs of several machines or days into one run directory.

    It holds the samples that all of them share. A strategy keeps its name if one run holds it, or if all that hold it answered alike; otherwise it appears as clse#A and clse#B.
    The first run's vanilla is what everything is compared with. Report and compare the new run like any other; to extend it, extend the runs and merge them again.
    """
    from tokenbench.store.merging import merge_runs
    from tokenbench.store.run_json import read_manifest

    if len(folders) < 2:
        raise UsageError("merge takes two run directories or more", "to copy one, copy its folder")
    check_distinct(folders)
    said = merge_runs([open_run(folder, {}) for folder in folders], output)
    cells, tasks = (read_manifest(output)[name] for name in ("cells", "tasks"))
    sizes = ", ".join(f"{name} {about['samples']:,}" for name, about in tasks.items())
    say(f"{output}: {len(cells)} cells of {len(folders)} runs; samples: {sizes}", *said)
