"""The command that runs strategies on a suite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tokenbench.commands.carrying_out import carry_out
from tokenbench.commands.executors import DistributedCommand, ExecutorChoice
from tokenbench.commands.hours import card_option, hours_of_run
from tokenbench.commands.loading import device_map_option, quantization_option
from tokenbench.commands.options import (
    BUDGETS,
    MODELS,
    STRATEGIES,
    Finite,
    Place,
    Whole,
    attention_option,
    details_option,
    device_option,
    dtype_option,
    examples,
    flat,
    held_out_option,
    list_option,
    match_option,
    plugin_option,
    whole_numbers,
)
from tokenbench.commands.output import say
from tokenbench.contract.sampling import FRAMES, MOST_FPS, MOST_FRAMES
from tokenbench.errors import MachineError, UsageError

if TYPE_CHECKING:
    from tokenbench.registry.plugins import Registry
    from tokenbench.runner.resolve import Resolved

__all__ = ["run"]

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
    help="Suite to run, or a table of your own questions (columns image, question, answer): mine.csv, or a folder with one table. "
    "Some suites take tasks after a colon: lmms:pope,lmms:mme; hf:owner/name@revision:split reads a data set of the Hugging Face hub.",
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
@held_out_option
@click.option(
    "--strict/--no-strict",
    default=False,
    show_default=True,
    help="Fail a task if one of its samples cannot be given to the model (a damaged image), instead of leaving the sample out.",
)
@click.option(
    "--turns",
    type=Whole(min=1),
    default=1,
    show_default=True,
    help="Questions asked of the same tokens: those that the first of them leaves of the image. Compares accuracy kept by turn.",
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
    help="Largest acceptable loss (margin of non-inferiority), in points of accuracy kept.",
)
@click.option(
    "--frames", type=Whole(1, MOST_FRAMES), help=f"Number of frames that models see of each clip.  [default: {FRAMES}]"
)
@click.option(
    "--fps",
    type=Finite(0, MOST_FPS, min_open=True),
    help=f"Frames per second that models see, in place of --frames; at most {MOST_FRAMES} of each clip.",
)
@click.option("--batch-size", type=Whole(min=1), default=32, show_default=True, help="Questions per batch.")
@device_option
@dtype_option("float32")
@attention_option("decoder")
@quantization_option
@device_map_option
@click.option(
    "--spec",
    "spec_file",
    type=Place(),
    help="TOML file with any of these options. Options on the command line take precedence.",
)
@click.option("-o", "--output", type=Place(), help="Run directory.  [default: runs/SUITE-HASH]")
@click.option("-n", "--dry-run", is_flag=True, help="List the cells without running them.")
@card_option
@details_option
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
    details: bool,
    quiet: bool,
    executor: ExecutorChoice,
    **options: Any,
) -> None:
    """Run strategies on a suite, and compare them.

    Every combination of strategy, budget, model, seed and task is a cell. Run the same command again to resume an interrupted
    run. A command with more samples, strategies, budgets, seeds, tasks or models extends the run in the same folder: only what
    is missing is run.
    """
    from tokenbench.commands.specfile import read_spec
    from tokenbench.registry.plugins import Registry
    from tokenbench.runner.foreseeing import foresee_refusals
    from tokenbench.runner.request import Request
    from tokenbench.runner.resolve import resolve

    registry = Registry(plugin_files)
    card = options.pop("card")
    if card and not dry_run:
        raise UsageError("--card requires --dry-run", "add --dry-run to estimate without running")
    given = [name for name in options if context.get_parameter_source(name) is not ParameterSource.DEFAULT]
    request = Request.of({name: _value(name, options[name]) for name in given})
    if spec_file:
        of_file, where = read_spec(spec_file, registry)
        request, executor = of_file.override(request), executor.over(where, spec_file, registry)
    resolved = resolve(request, registry, _flag)
    if dry_run:
        _check_executor(executor, registry)
        for warning in foresee_refusals(resolved, registry):
            say(f"warning: {warning}", err=True)
        _show_cells(resolved)
        for line in hours_of_run(resolved, card, registry) if card else []:
            say(line)
        return
    folder = output or Path("runs") / resolved.spec.folder_name
    carry_out(resolved, folder, registry, quiet, executor.make(registry), details=details)


def _value(name: str, value: Any) -> Any:
    """Convert the value of an option for a request, which takes flat lists, and seeds as numbers."""
    if name == "seeds":
        return whole_numbers("--seeds", flat(value))
    return flat(value) if name in LISTS else value


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check_executor(executor: ExecutorChoice, registry: Registry) -> None:
    """Raise UsageError for an executor or settings that a run would refuse. What only this machine lacks is a warning."""
    try:
        executor.make(registry)
    except MachineError as error:
        say(f"warning: the run could not start on this machine: {error}", err=True)


def _show_cells(resolved: Resolved) -> None:
    """Print the cells of a run."""
    from tokenbench.comparison.wording import count_of
    from tokenbench.contract.suite import first

    spec, arms = resolved.spec, resolved.arms
    samples = sum(len(first(task, spec.limit, spec.held_out)) for task in resolved.tasks)
    for model in spec.models:
        for arm in arms:
            seed = f"seed {arm.seed}" if arm.named.strategy.stochastic else ""
            say(f"{model}  {arm.named.name}  {arm.budget}  {seed}".rstrip())
    if frames := next((str(task.sampling) for task in resolved.tasks if task.sampling), ""):
        say(f"models see {frames} of each clip")
    cells, answers = (len(spec.models) * len(arms) * number for number in (len(resolved.tasks), samples))
    counts = f"{count_of(cells, 'cell')} of {count_of(len(resolved.tasks), 'task')}, {count_of(answers, 'answer')}"
    say(f"{counts}; nothing was run")
