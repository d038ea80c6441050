"""The command that writes the reports of a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tokenbench.commands.options import (
    Place,
    absolute,
    data_of_run_option,
    flat,
    list_option,
    looking,
    named_data,
    plugin_option,
    tasks_dir_option,
)
from tokenbench.commands.output import say

if TYPE_CHECKING:
    from tokenbench.registry.plugins import Registry

__all__ = ["report", "write_reports"]

MOST = 8  # names of files that are shown


@click.command()
@click.argument("folder", metavar="RUN", type=Place())
@list_option("--format", "formats", default="terminal,markdown,csv,html", help="Report formats.")
@tasks_dir_option
@data_of_run_option
@plugin_option
@looking
def report(
    folder: Path,
    formats: Sequence[Sequence[str]],
    tasks_dir: Sequence[Sequence[str]],
    data: Sequence[Sequence[str]],
    plugin_files: tuple[str, ...],
) -> None:
    """Write the reports of a run again."""
    from tokenbench.registry.plugins import Registry

    write_reports(folder, flat(formats), Registry(plugin_files), absolute(flat(tasks_dir)), named_data(data))


def write_reports(
    folder: Path, formats: Sequence[str], known: Registry, definitions: Sequence[str], data: Sequence[str]
) -> None:
    """Write a run's reports, and the benchmarks' own numbers where there are any, to RUN/report.

    definitions: folders of task definitions that may be used. data: `TASK=FOLDER` that may be read.
    """
    from tokenbench.store.files import make_folder, sweep
    from tokenbench.store.report_files import csv_text, write_text
    from tokenbench.store.run import Run

    writers = [known.get("reports", name)() for name in formats]
    finished = Run.open(folder, known, definitions, data)
    comparison, official = finished.compare(), finished.official()
    target = make_folder(folder / "report", folder)
    sweep(target, folder)
    written = [path.name for writer in writers for path in writer.write(comparison, finished, target, sys.stdout)]
    if written:
        say(f"reports in {target}: {', '.join(written[:MOST])}{' …' if len(written) > MOST else ''}", err=True)
    if len(official):
        write_text(target / "official.csv", csv_text(official))
        say(f"the benchmarks' own numbers: {target / 'official.csv'}", err=True)
