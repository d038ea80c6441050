"""The command that exports a run as a data set."""

from __future__ import annotations

from pathlib import Path

import click

from tokenbench.commands.opening import open_run
from tokenbench.commands.options import examples, offline_command, plugin_option
from tokenbench.commands.output import say

__all__ = ["export"]


@click.command(epilog=examples("tokenbench export my-run --to my-data"))
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--to", "target", required=True, type=click.Path(path_type=Path), help="New folder to write the data set to."
)
@plugin_option
@offline_command
def export(folder: Path, target: Path, plugin_files: tuple[str, ...]) -> None:
    """Export a run as a data set, ready to upload to a hub.

    The folder holds Parquet tables and a dataset card. Read it with pandas.read_parquet("FOLDER/samples.parquet") or datasets.load_dataset("FOLDER", "samples").
    """
    from tokenbench.registry.plugins import Registry
    from tokenbench.store.export import export_run
    from tokenbench.store.resuming import describe_unfinished

    for path in export_run(open_run(folder, {}, Registry(plugin_files)), target):
        say(path)
    for sentence in describe_unfinished([folder]):
        say(f"warning: {sentence}", err=True)
