"""The command that writes the reports of a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tokenbench.commands.opening import make_writers, open_run, with_details
from tokenbench.commands.options import (
    Place,
    data_of_run_option,
    details_option,
    examples,
    flat,
    list_option,
    offline_command,
    plugin_option,
    tasks_dir_option,
)
from tokenbench.commands.output import say

if TYPE_CHECKING:
    from tokenbench.registry.plugins import Registry
    from tokenbench.store.run import Run

__all__ = ["report", "say_written", "write_reports"]

MOST = 8
"""The largest number of file names that are printed."""


@click.command(
    epilog=examples(
        "tokenbench report my-run",
        "tokenbench report my-run --format terminal --details",
        "tokenbench report my-run --format latex,json",
    )
)
@click.argument("folder", metavar="RUN", type=Place())
@list_option("--format", "formats", default="markdown,csv,html,terminal", help="Report formats to write.")
@details_option
@tasks_dir_option
@data_of_run_option
@plugin_option
@offline_command
def report(
    folder: Path,
    formats: Sequence[Sequence[str]],
    details: bool,
    plugin_files: tuple[str, ...],
    **named: Sequence[Sequence[str]],
) -> None:
    """Write the reports of a run again, to RUN/report/."""
    from tokenbench.registry.plugins import Registry

    registry = Registry(plugin_files)
    write_reports(open_run(folder, named, registry), with_details(flat(formats), details), registry)


def say_written(files: Sequence[Path], folder: Path) -> None:
    """Say which files reports consist of, and where they are. Nothing is said of no files."""
    if files:
        names = ", ".join(path.name for path in files[:MOST])
        say(f"reports in {folder}: {names}{' …' if len(files) > MOST else ''}", err=True)


def write_reports(run: Run, formats: Sequence[str], registry: Registry) -> None:
    """Write a run's reports, and the metrics of the benchmarks themselves if there are any, to RUN/report.

    Args:
        run: The run, opened with the folders that its reports may read.
        formats: The names of the report formats.
        registry: The plug-ins that register report formats.

    Raises:
        UsageError: A format is unknown, or nothing is left to compare.
    """
    from tokenbench.store.files import make_folder, sweep
    from tokenbench.store.report_files import csv_text, write_text

    writers = make_writers(formats, registry)
    comparison, official = run.compare(), run.official()
    target = make_folder(run.folder / "report", run.folder)
    sweep(target, run.folder)
    say_written([path for writer in writers for path in writer.write(comparison, run, target, sys.stdout)], target)
    if len(official):
        write_text(target / "official.csv", csv_text(official))
        say(f"official metrics of the benchmarks: {target / 'official.csv'}", err=True)
