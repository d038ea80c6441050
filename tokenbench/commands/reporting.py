"""The command that writes the reports of a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tokenbench.commands.opening import chosen_writers, opened
from tokenbench.commands.options import (
    Place,
    data_of_run_option,
    examples,
    flat,
    list_option,
    looking,
    plugin_option,
    tasks_dir_option,
)
from tokenbench.commands.output import say

if TYPE_CHECKING:
    from tokenbench.registry.plugins import Registry
    from tokenbench.store.run import Run

__all__ = ["report", "write_reports"]

MOST = 8  # names of files that are shown


@click.command(epilog=examples("tokenbench report my-run", "tokenbench report my-run --format latex,json"))
@click.argument("folder", metavar="RUN", type=Place())
@list_option("--format", "formats", default="terminal,markdown,csv,html", help="Report formats to write.")
@tasks_dir_option
@data_of_run_option
@plugin_option
@looking
def report(
    folder: Path,
    formats: Sequence[Sequence[str]],
    plugin_files: tuple[str, ...],
    **named: Sequence[Sequence[str]],
) -> None:
    """Write the reports of a run again, to RUN/report/."""
    from tokenbench.registry.plugins import Registry

    registry = Registry(plugin_files)
    write_reports(opened(folder, named, registry), flat(formats), registry)


def write_reports(run: Run, formats: Sequence[str], registry: Registry) -> None:
    """Write a run's reports, and the benchmarks' own numbers where there are any, to RUN/report.

    Args:
        run: the run, opened with what its reports may read.
        formats: names of report formats.
        registry: where these are looked up.

    Raises:
        UsageError: for an unknown format, and if nothing is left to compare.
    """
    from tokenbench.store.files import make_folder, sweep
    from tokenbench.store.report_files import csv_text, write_text

    writers = chosen_writers(formats, registry)
    comparison, official = run.compare(), run.official()
    target = make_folder(run.folder / "report", run.folder)
    sweep(target, run.folder)
    written = [path.name for writer in writers for path in writer.write(comparison, run, target, sys.stdout)]
    if written:
        say(f"reports in {target}: {', '.join(written[:MOST])}{' …' if len(written) > MOST else ''}", err=True)
    if len(official):
        write_text(target / "official.csv", csv_text(official))
        say(f"official metrics of the benchmarks: {target / 'official.csv'}", err=True)
