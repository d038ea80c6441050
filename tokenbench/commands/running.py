"""The commands that run cells: a new run, and one that is resumed."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tokenbench.commands.executors import DistributedCommand, MakeExecutor
from tokenbench.commands.opening import fetching, naming_options, opened
from tokenbench.commands.options import (
    BUDGETS,
    MODELS,
    STRATEGIES,
    Finite,
    Place,
    Whole,
    attention_option,
    data_of_run_option,
    device_option,
    dtype_option,
    examples,
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

__all__ = ["resume", "run"]

LISTS = ("strategies", "tasks", "budgets", "models", "seeds", "data", "tasks_dir")


@click.command(
    cls=DistributedCommand,
    epilog=examples(
        "tokenbench run --strategies clse,fastv --limit 20",
        "tokenbench run --strategies clse:temp=0.2,fastv --budgets 1/3,16 -o my-run",
        "tokenbench run --spec my-run.toml --dry-run",
    ),
)
@click.option(
    "--suite",
    default="image",
    show_default=True,
    help="Suite to run. Some take tasks after a colon: lmms:pope,lmms:mme.",
)
@list_option("--tasks", help="Tasks of the suite to run.  [default: all]")
@list_option("--data", help="Local data of public tasks: gqa=FOLDER (Parquet, Arrow, image folder, …).")
@list_option("--tasks-dir", help="Folders with your own task definitions, for the suite lmms.")
@list_option("--strategies", help=f"{STRATEGIES}  [required, here or in --spec]")
@list_option("--budgets", default="1/3,2/9,1/9", help=BUDGETS)
@list_option(
    "--models",
    help=f"{MODELS}  [default: the suite's toy model]",
)
@list_option(
    "--seeds",
    help="Seeds of strategies that draw at random.  [default: 0,1,2, or 0 to 4 if one draw can affect all samples]",
)
@click.option(
    "--floors/--no-floors",
    default=True,
    show_default=True,
    help="Also run the trivial baselines 'random' and 'downsample'.",
)
@match_option
@click.option(
    "--strict/--no-strict",
    default=False,
    show_default=True,
    help="Fail a task if one of its samples cannot be given to the model (a damaged image), instead of leaving the sample out.",
)
@click.option("--limit", type=Whole(min=1), help="Run the first N samples of each task only. A later run can add more.")
@click.option(
    "--until",
    type=click.Choice(["decided"]),
    help="Draw whole images at random, look at the verdicts at planned times, and stop each strategy once its verdict is final.",
)
@click.option("--looks", type=Whole(2, 100), help="Maximum number of looks, with --until.  [default: 5]")
@click.option(
    "--spending",
    type=click.Choice(["obrien-fleming", "pocock"]),
    help="How the looks share the error, with --until.  [default: obrien-fleming]",
)
@click.option(
    "--margin",
    type=Finite(min=0),
    default=1,
    show_default=True,
    help="Largest acceptable loss (margin of non-inferiority), in points of accuracy retention.",
)
@click.option("--batch-size", type=Whole(min=1), default=32, show_default=True, help="Questions per batch.")
@device_option
@dtype_option("float32")
@attention_option("decoder")
@click.option(
    "--spec",
    "spec_file",
    type=Place(),
    help="TOML file with any of these options. Options on the command line take precedence.",
)
@click.option("-o", "--output", type=Place(), help="Run directory.  [default: runs/SUITE-HASH]")
@click.option("-n", "--dry-run", is_flag=True, help="List the cells without running them.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
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
    """Run strategies on a suite, and compare them.

    Every combination of strategy, budget, model, seed and task is a cell. Run the same command again to resume an interrupted
    run. A command with more samples, strategies, budgets, seeds, tasks or models extends the run in the same folder: only what
    is missing is run.
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


@click.command(
    cls=DistributedCommand,
    epilog=examples("tokenbench resume my-run", "tokenbench resume my-run --retry-failed"),
)
@click.argument("folder", metavar="RUN", type=Place())
@click.option("--retry-failed", is_flag=True, help="Run failed cells again.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
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
    """Resume a run, given its directory.

    Cells whose identity has changed are run again. A run directory may come from anybody: it determines what is run, but not
    which of your files are read. Name single-file plug-ins (--plugin), folders of task definitions (--tasks-dir), data folders
    (--data) and model folders (--models) again, as well as models that have to be downloaded.
    """
    from tokenbench.registry.plugins import Registry
    from tokenbench.runner.resolve import resolve_written

    registry = Registry(plugin_files)
    there = opened(folder, named, registry)
    there.check_plugins()
    resolved = resolve_written(there.seen_spec(), registry, unregistered=there.manifest.get("unregistered"))
    with fetching(resolved.spec, flat(named["models"]), registry):
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
            raise MachineError(f"{where}{trouble}", f"fix this, and {AGAIN} to resume") from error
        raise TokenBenchError(f"internal error: {type(error).__name__}: {error}", _trace_kept(folder, error)) from error
    say(f"run: {folder}", err=True)
    if broken := Store(folder).broken():
        say(
            f"warning: damaged cell files were set aside, and their cells are run again: {folder / 'cells' / broken[0]}"
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
            f"some cells failed: {'; '.join(failures)}",
            f"tracebacks are in {folder / 'logs'}; when the cause is fixed: tokenbench resume {folder} --retry-failed{naming_options(resolved.spec, registry)}",
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
