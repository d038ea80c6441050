"""The command that makes a data set of a run."""

from __future__ import annotations

from pathlib import Path

import click

from tokenbench.commands.opening import opened
from tokenbench.commands.options import examples, looking, plugin_option
from tokenbench.commands.output import say

__all__ = ["export"]


@click.command(epilog=examples("tokenbench export my-run --to my-data"))
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--to", "target", required=True, type=click.Path(path_type=Path), help="New folder to write the data set to."
)
@plugin_option
@looking
def export(folder: Path, target: Path, plugin_files: tuple[str, ...]) -> None:
    """Export a run as a data set, ready to upload to a hub.

    The folder holds Parquet tables and a dataset card. Read it with pandas.read_parquet("FOLDER/samples.parquet") or datasets.load_dataset("FOLDER", "samples").
    """
    from tokenbench.registry.plugins import Registry
    from tokenbench.store.export import export_run

    for path in export_run(opened(folder, {}, Registry(plugin_files)), target):
        say(path)
