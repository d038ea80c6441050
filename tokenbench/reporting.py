"""The command that writes the reports of a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tokenbench.options import flat, list_option, plugin_option

if TYPE_CHECKING:
    from tokenbench.plugins import Registry

__all__ = ["report", "write_reports"]


@click.command()
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@list_option("--format", "formats", default="terminal,markdown,csv,html", help="Report formats.")
@plugin_option
def report(folder: Path, formats: Sequence[Sequence[str]], plugin_files: tuple[str, ...]) -> None:
    """Write the reports of a run again."""
    from tokenbench.plugins import Registry

    write_reports(folder, flat(formats), Registry(plugin_files))


def write_reports(folder: Path, formats: Sequence[str], known: Registry) -> None:
    """Write a run's reports, and the benchmarks' own numbers where there are any, to RUN/report."""
    from tokenbench.run import Run

    writers = [known.get("reports", name)() for name in formats]
    finished = Run.open(folder, known)
    comparison = finished.compare()
    target = folder / "report"
    target.mkdir(exist_ok=True)
    for writer in writers:
        writer.write(comparison, finished, target, sys.stdout)
    official = finished.official()
    if len(official):
        official.to_csv(target / "official.csv", index=False)
        click.echo(f"the benchmarks' own numbers: {target / 'official.csv'}", err=True)
