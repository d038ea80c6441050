"""The command that resumes a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from tokenbench.commands.carrying_out import carry_out
from tokenbench.commands.executors import DistributedCommand, ExecutorChoice
from tokenbench.commands.opening import open_run, restrict_downloads
from tokenbench.commands.options import (
    Place,
    data_of_run_option,
    details_option,
    examples,
    flat,
    models_of_run_option,
    plugin_option,
    tasks_dir_option,
)

__all__ = ["resume"]


@click.command(
    cls=DistributedCommand,
    epilog=examples("tokenbench resume my-run", "tokenbench resume my-run --retry-failed"),
)
@click.argument("folder", metavar="RUN", type=Place())
@click.option("--retry-failed", is_flag=True, help="Run failed cells again.")
@details_option
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@tasks_dir_option
@data_of_run_option
@models_of_run_option
@plugin_option
def resume(
    folder: Path,
    retry_failed: bool,
    details: bool,
    quiet: bool,
    executor: ExecutorChoice,
    plugin_files: tuple[str, ...],
    **named: Sequence[Sequence[str]],
) -> None:
    """Resume a run, given its directory.

    Cells whose identity has changed are run again. A run directory may come from anybody: it determines what is run, but not
    which of your files are read. Name single-file plug-ins (--plugin), folders of task definitions (--tasks-dir), data folders
    (--data) and model folders (--models) again, as well as models that have to be downloaded.
    """
    from tokenbench.registry.plugins import Registry
    from tokenbench.runner.resolve import resolve_spec
    from tokenbench.store.merging import check_unmerged
    from tokenbench.store.trust import check_plugins

    registry = Registry(plugin_files)
    run = open_run(folder, named, registry)
    check_unmerged(run.manifest, folder)
    check_plugins(run, registry.files)
    resolved = resolve_spec(run.seen_spec(), registry, unregistered=run.manifest.get("unregistered"))
    with restrict_downloads(resolved.spec, flat(named["models"]), registry):
        carry_out(resolved, folder, registry, quiet, executor.make(registry), retry_failed, details)
