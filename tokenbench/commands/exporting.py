"""The command that makes a data set of a run."""

from __future__ import annotations

from pathlib import Path

import click

from tokenbench.commands.opening import opened
from tokenbench.commands.options import looking, plugin_option
from tokenbench.commands.output import say

__all__ = ["export"]


@click.command()
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--to", "target", required=True, type=click.Path(path_type=Path), help="New folder of the data set.")
@plugin_option
@looking
def export(folder: Path, target: Path, plugin_files: tuple[str, ...]) -> None:
    """Write a run as a data set: Parquet tables and a card, ready for a hub.

    Read it with pandas.read_parquet("FOLDER/samples.parquet") or datasets.load_dataset("FOLDER", "samples").
    """
    from tokenbench.registry.plugins import Registry
    from tokenbench.store.export import export_run

    for path in export_run(opened(folder, {}, Registry(plugin_files)), target):
        say(path)
