"""The command that publishes runs, and checks them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tokenbench.commands.opening import check_distinct, open_run
from tokenbench.commands.options import (
    Place,
    data_of_run_option,
    examples,
    offline_command,
    plugin_option,
    tasks_dir_option,
)
from tokenbench.commands.output import say
from tokenbench.errors import GateError, UsageError

if TYPE_CHECKING:
    from tokenbench.store.run import Run
    from tokenbench_reports.publish.checking import Check

__all__ = ["publish"]

MOST = 20
"""The most sentences that are printed about a run."""


@click.command(epilog=examples("tokenbench publish --check my-run", "tokenbench publish monday tuesday -o site"))
@click.argument("folders", metavar="RUN...", nargs=-1, required=True, type=Place())
@click.option("-o", "--output", type=Place(file_okay=False), help="New folder for the site.")
@click.option("--check", "only_check", is_flag=True, help="Only recompute the runs' numbers; write nothing.")
@tasks_dir_option
@data_of_run_option
@plugin_option
@offline_command
def publish(
    folders: tuple[Path, ...],
    output: Path | None,
    only_check: bool,
    plugin_files: tuple[str, ...],
    **named: Sequence[Sequence[str]],
) -> None:
    """Publish runs as a static leaderboard, or check them with --check.

    Scores are recomputed from the answers by the task's scorer where its suite is known, costs by the cost model where the model's size is known, and so are counts, means, and the tables in RUN/report. What is taken from the submission is named. A run that does not add
    up is refused with exit code 1. The site opens from its folder, without a server and offline.
    """
    from tokenbench.comparison.wording import count_of
    from tokenbench.registry.plugins import Registry
    from tokenbench.store.new_folder import check_new
    from tokenbench_reports.publish.checking import check_run
    from tokenbench_reports.publish.site import write_site

    check_distinct(folders)
    if only_check == (output is not None):
        raise UsageError("publish needs a folder for the site, or --check", "give one of -o FOLDER and --check")
    if output is not None:
        check_new(output, "-o")
    registry = Registry(plugin_files)
    runs = [open_run(folder, named, registry) for folder in folders]
    checks = [check_run(run) for run in runs]
    for run, check in zip(runs, checks, strict=True):
        _report(run, check)
    if wrong := [(run, check) for run, check in zip(runs, checks, strict=True) if check.wrong]:
        shown = "; ".join(f"{run.folder}: {count_of(len(check.wrong), 'fault')}" for run, check in wrong)
        raise GateError(f"the numbers of these runs do not add up, so that nothing is published ({shown})")
    if output is not None:
        boards = write_site(runs, checks, output)
        say(f"{output / 'index.html'}: {count_of(len(boards), 'leaderboard')} of {count_of(len(runs), 'run')}")


def _report(run: Run, check: Check) -> None:
    """Print what was found of a run."""
    for text in check.wrong[:MOST]:
        say(f"{run.folder}: {text}")
    if len(check.wrong) > MOST:
        say(f"{run.folder}: and {len(check.wrong) - MOST} more")
    for text in check.unknown[:MOST]:
        say(f"{run.folder}: {text}")
    if not check.wrong:
        say(
            f"{run.folder}: {check.numbers:,} numbers recomputed from {check.answers:,} answers; {'the others add up' if check.unknown else 'all add up'}"
        )
