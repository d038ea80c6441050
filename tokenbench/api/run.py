"""A run from Python: what `tokenbench run` does, without its reports."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tokenbench.errors import UsageError
from tokenbench.registry.plugins import Registry

if TYPE_CHECKING:
    from tokenbench.contract.executor import Executor
    from tokenbench.store.run import Run

__all__ = ["run"]

COMMAND_ONLY = ("executor", "workers", "ray_address", "slurm", "spec", "output", "dry_run", "quiet", "plugin")


def run(
    strategies: str | Iterable[str],
    output: str | Path,
    *,
    plugins: Iterable[str | Path] = (),
    executor: Executor | None = None,
    progress: bool = False,
    **options: Any,
) -> Run:
    """Run every strategy x budget x model cell into the run directory `output`, or go on with it, and return it. A run that is there grows.

        run = tokenbench.run(["clse", "fastv"], "my-run", budgets=["1/3", 64], limit=20)
        run.compare().summary

    options: those of `tokenbench run`, by their names: suite, tasks, budgets, models, seeds, floors, match, limit, until, looks,
    spending, margin, batch_size, device, dtype, attention, data, tasks_dir. plugins: single Python files. executor: where the work is done; in this process
    unless given. What fails while it runs is in `Run.failures()`.

    Raises UsageError for what is unknown or wrong, MachineError for what this machine cannot do.
    """
    from tokenbench.commands.settings import spec_of
    from tokenbench.runner.execute import execute
    from tokenbench.runner.progress import progress as shown
    from tokenbench.store.run import Run

    known = Registry(plugins)
    spec = spec_of(_parsed({"strategies": strategies, **options}), known)
    execute(spec, Path(output), known, lambda total: shown(total, sys.stderr, not progress), executor)
    return Run.open(output, known, spec.definitions, spec.data)


def _parsed(options: dict[str, Any]) -> dict[str, Any]:
    """The options as the command reads them, with its defaults and its checks."""
    from tokenbench.commands.running import run as command

    arguments: list[str] = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        if name in COMMAND_ONLY:
            raise UsageError(f"run() takes no option '{name}'", "see help(tokenbench.run)")
        if isinstance(value, bool):
            arguments.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            several = value if isinstance(value, (list, tuple, set)) else [value]
            arguments.append(f"--{flag}={','.join(map(str, several))}")
    try:
        return command.make_context("run", arguments).params
    except click.UsageError as error:
        raise UsageError(f"run(): {error.format_message()}", "see help(tokenbench.run)") from None
