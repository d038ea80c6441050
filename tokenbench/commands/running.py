"""The commands that run cells: a new run, and one that is resumed."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tokenbench.commands.executors import DistributedCommand, MakeExecutor
from tokenbench.commands.opening import naming_options, opened
from tokenbench.commands.options import (
    Finite,
    Place,
    attention_option,
    data_of_run_option,
    device_option,
    dtype_option,
    flat,
    list_option,
    match_option,
    models_of_run_option,
    plugin_option,
    tasks_dir_option,
    whole_numbers,
)
from tokenbench.commands.output import say
from tokenbench.commands.reporting import write_reports
from tokenbench.errors import AGAIN, MachineError, StrategyError, TokenBenchError, UsageError, of_machine

if TYPE_CHECKING:
    from tokenbench.contract.executor import Executor
    from tokenbench.registry.plugins import Registry
    from tokenbench.runner.resolve import Resolved
    from tokenbench.store.spec import Spec

__all__ = ["resume", "run"]

LISTS = ("strategies", "tasks", "budgets", "models", "seeds", "data", "tasks_dir")


@click.command(cls=DistributedCommand)
@click.option("--suite", default="image", show_default=True, help="Suite, or suites with tasks: lmms:pope,lmms:mme.")
@list_option("--tasks", help="Only these tasks of the suite.")
@list_option("--data", help="Local data of public tasks: gqa=FOLDER (parquet, arrow, image folder).")
@list_option("--tasks-dir", help="Folders with own task definitions, for the suite lmms.")
@list_option("--strategies", help="Strategies, with parameters after colons: clse:temp=0.2,fastv.")
@list_option("--budgets", default="1/3,2/9,1/9", help="What to retain: tokens (192) or shares (1/3, 33%, 0.334).")
@list_option(
    "--models",
    help="Names, folders with weights, or Hugging Face ids (ID@REVISION).  [default: the suite's toy model]",
)
@list_option(
    "--seeds",
    help="Seeds of strategies that draw at random.  [default: 0,1,2; 0 to 4 where one draw may move all samples]",
)
@click.option(
    "--floors/--no-floors",
    default=True,
    show_default=True,
    help="Run the strategies 'random' and 'downsample' as floors.",
)
@match_option
@click.option(
    "--strict/--no-strict",
    default=False,
    help="Whether a sample that a model cannot be asked (a damaged picture) costs its task, not only itself.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N samples of each task; more may follow.")
@click.option(
    "--until",
    type=click.Choice(["decided"]),
    help="Take whole images at random, look at the verdicts now and then, and run no strategy further that is decided.",
)
@click.option("--looks", type=click.IntRange(2, 100), help="With --until: how many looks at the most.  [default: 5]")
@click.option(
    "--spending",
    type=click.Choice(["obrien-fleming", "pocock"]),
    help="With --until: how looks share the error.  [default: obrien-fleming]",
)
@click.option(
    "--margin",
    type=Finite(min=0),
    default=1.0,
    show_default=True,
    help="Loss in points of retention that is of no importance.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True, help="Questions a batch.")
@device_option
@dtype_option("float32")
@attention_option("decoder")
@click.option(
    "--spec",
    "spec_file",
    type=Place(),
    help="A TOML file with any of these options; the command line wins.",
)
@click.option("-o", "--output", type=Place(), help="Run directory.  [default: runs/SUITE-HASH]")
@click.option("-n", "--dry-run", is_flag=True, help="Show the cells, run nothing.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@plugin_option
@click.pass_context
def run(
    context: click.Context,
    /,
    plugin_files: tuple[str, ...],
    spec_file: Path | None,
    output: Path | None,
    dry_run: bool,
    quiet: bool,
    executor: MakeExecutor,
    **options: Any,
) -> None:
    """Run every strategy x budget x model cell of a suite and compare them.

    Run the same command again to resume an interrupted run. With more samples, strategies, budgets, seeds, tasks or models the same
    folder grows: only what it lacks is run.
    """
    from tokenbench.commands.specfile import read_spec
    from tokenbench.registry.plugins import Registry
    from tokenbench.runner.request import Request
    from tokenbench.runner.resolve import resolve

    registry = Registry(plugin_files)
    given = [name for name in options if context.get_parameter_source(name) is not ParameterSource.DEFAULT]
    request = Request.of({name: _value(name, options[name]) for name in given})
    if spec_file:
        request = read_spec(spec_file, registry).replaced_by(request)
    resolved = resolve(request, registry, _flag)
    if dry_run:
        _show_cells(resolved)
        return
    folder = output or Path("runs") / resolved.spec.folder_name
    _carry_out(resolved, folder, registry, quiet, executor(registry))


@click.command(cls=DistributedCommand)
@click.argument("folder", metavar="RUN", type=Place())
@click.option("--retry-failed", is_flag=True, help="Try failed cells again.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@tasks_dir_option
@data_of_run_option
@models_of_run_option
@plugin_option
def resume(
    folder: Path,
    retry_failed: bool,
    quiet: bool,
    executor: MakeExecutor,
    plugin_files: tuple[str, ...],
    **named: Sequence[Sequence[str]],
) -> None:
    """Resume a run by its directory. Cells whose identity has changed since are run again.

    A run directory may come from anybody, so it settles what is run, but not which files of yours are read: name single-file plug-ins,
    folders of task definitions, data folders and model folders again, and models that are to be fetched.
    """
    from tokenbench.registry.plugins import Registry
    from tokenbench.runner.resolve import resolve_written

    registry = Registry(plugin_files)
    there = opened(folder, named, registry)
    there.check_plugins()
    resolved = resolve_written(there.seen_spec(), registry, unregistered=there.manifest.get("unregistered"))
    with _fetching(resolved.spec, flat(named["models"]), registry):
        _carry_out(resolved, folder, registry, quiet, executor(registry), retry_failed)


def _value(name: str, value: Any) -> Any:
    """An option as a request takes it: lists are flat, seeds are numbers."""
    if name == "seeds":
        return whole_numbers("--seeds", flat(value))
    return flat(value) if name in LISTS else value


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _show_cells(resolved: Resolved) -> None:
    """Print the cells of a run."""
    from tokenbench.contract.suite import first

    spec, arms = resolved.spec, resolved.arms
    samples = sum(len(first(task, spec.limit)) for task in resolved.tasks)
    for model in spec.models:
        for arm in arms:
            seed = f"seed {arm.seed}" if arm.named.strategy.stochastic else ""
            say(f"{model}  {arm.named.name}  {arm.budget}  {seed}".rstrip())
    cells, answers = (len(spec.models) * len(arms) * number for number in (len(resolved.tasks), samples))
    say(f"{cells} cells of {len(resolved.tasks)} tasks, {answers} answers; nothing was run")


def _fetching(spec: Spec, named: Sequence[str], registry: Registry) -> AbstractContextManager[None]:
    """Whether anything may be fetched for a run directory: not if it alone names a model.

    Raises:
        UsageError: A model that it alone names is a folder, or not in the local cache.
    """
    from tokenbench.models.offline import offline
    from tokenbench.models.source import is_cached
    from tokenbench.store.run import unnamed

    strange = unnamed(spec.models, named, registry)
    if foreign := [name for name in strange if not is_cached(name)]:
        raise UsageError(
            f"only the run directory, which may come from others, names the models {', '.join(foreign)}",
            f"name them again to have them read or fetched: {' '.join(f'--models {name}' for name in foreign)}",
        )
    return offline() if strange else nullcontext()


def _carry_out(
    asked: Resolved, folder: Path, registry: Registry, quiet: bool, executor: Executor, retry_failed: bool = False
) -> None:
    """Run, report, and say what failed."""
    from tokenbench.runner.execute import execute
    from tokenbench.runner.progress import progress
    from tokenbench.store.directory import Store
    from tokenbench.store.run import Run

    try:
        told = partial(say, err=True)
        bar = partial(progress, out=sys.stderr, quiet=quiet)
        resolved = execute(asked, folder, registry, bar, executor, retry_failed, told)
    except TokenBenchError:
        raise
    except Exception as error:
        if trouble := of_machine(error):
            where = "" if str(folder) in str(trouble) else f"{folder}: "
            raise MachineError(f"{where}{trouble}", f"mend it, and {AGAIN} to resume") from error
        raise TokenBenchError(f"internal error: {type(error).__name__}: {error}", _trace_kept(folder, error)) from error
    say(f"run: {folder}", err=True)
    if broken := Store(folder).broken():
        say(
            f"warning: damaged files of cells were set aside, and these cells run again: {folder / 'cells' / broken[0]}"
            + (f" and {len(broken) - 1} more" if broken[1:] else ""),
            err=True,
        )
    for sentence in Run.open(folder).left_out():
        say(sentence, err=True)
    failures = _failures(folder)
    try:
        own = Run.open(folder, registry, asked.spec.definitions, asked.spec.data, resolved.tasks)
        write_reports(own, ("markdown", "csv", "html", "terminal"), registry)
    except UsageError:  # nothing is left to compare
        if not failures:
            raise
    if failures:
        raise StrategyError(
            f"cells without numbers: {'; '.join(failures)}",
            f"tracebacks are in {folder / 'logs'}; when it is mended: tokenbench resume {folder} --retry-failed{naming_options(resolved.spec, registry)}",
        )


def _trace_kept(folder: Path, error: Exception) -> str:
    """Keep the traceback of an error with the run, and say where; raise the error itself if that cannot be done."""
    from tokenbench.store.files import publish

    log = folder / "logs" / "traceback.txt"
    try:
        publish(log, "".join(traceback.format_exception(error)).encode(errors="backslashreplace"), folder)
    except (OSError, MachineError):
        raise error from None
    return f"traceback in {log}"


def _failures(folder: Path) -> list[str]:
    """What failed, each reason once; what is infeasible is no failure."""
    from tokenbench.store.run import Run

    broken = [failure for failure in Run.open(folder).failures() if failure["kind"] == "failed"]
    strategies: dict[str, list[str]] = {}
    for failure in broken:
        strategies.setdefault(failure["reason"], []).append(failure["strategy"])
    return [f"{_named(names)}: {reason}" for reason, names in strategies.items()]


def _named(names: Sequence[str]) -> str:
    once = list(dict.fromkeys(names))
    return ", ".join(once) if len(once) <= 3 else f"{len(once)} strategies"
