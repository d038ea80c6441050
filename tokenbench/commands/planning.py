"""The command that plans a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tokenbench.commands.hours import BASIS, card_option, hours_of_sweep
from tokenbench.commands.opening import open_run
from tokenbench.commands.options import (
    Finite,
    Place,
    Whole,
    dtype_option,
    examples,
    flat,
    list_option,
    offline_command,
    whole_numbers,
)
from tokenbench.commands.output import say
from tokenbench.errors import UsageError

if TYPE_CHECKING:
    from tokenbench.comparison.planning import Assumptions, Plan
    from tokenbench.contract.budget import Budget
    from tokenbench.contract.strategy import Strategy
    from tokenbench.cost.hours import Card
    from tokenbench.registry.plugins import Registry
    from tokenbench.store.run import Run

__all__ = ["measure_pilot", "plan"]

SAMPLES = 5000
MARGIN = 1.0


@click.command(
    epilog=examples(
        "tokenbench plan --difference 1 --num-strategies 15 --pilot my-run",
        "tokenbench plan --strategies clse,fastv --models llava-1.5-7b --card h100",
        "tokenbench plan --margin 1 --sizes gqa=12578,pope=8910",
    )
)
@click.option(
    "--difference",
    type=Finite(0.001, 100),
    default=1,
    show_default=True,
    help="Difference to detect, in points of accuracy kept.",
)
@click.option(
    "--margin",
    type=Finite(0.001, 100),
    help="The run's --margin, in points of accuracy kept.  [default: the pilot's, or 1]",
)
@click.option(
    "--samples",
    type=Whole(1, 10**9),
    help="Total number of samples over all tasks.  [default: the sum of --sizes, or 5000]",
)
@list_option(
    "--sizes",
    help="Samples of each task: gqa=12578,pope=8910 or 12578,8910.  [default: those of the pilot's suite, or equal sizes]",
)
@click.option(
    "--num-strategies",
    type=Whole(1, 10**6),
    default=2,
    show_default=True,
    help="Number of strategies to compare, trivial baselines included.",
)
@click.option("--num-budgets", type=Whole(1, 10**6), default=3, show_default=True, help="Number of budgets.")
@click.option("--pilot", type=Place(), help="A small run from which the assumptions below are estimated.")
@click.option(
    "--discordance",
    type=Finite(0, 1, min_open=True),
    help="Share of samples that two strategies score differently.  [default: the pilot's, by task, or 0.18]",
)
@click.option(
    "--deff",
    type=Finite(1, 10**6),
    help="Design effect of a difference.  [default: the pilot's, by task, or 1.3]",
)
@click.option(
    "--score", type=Finite(0.001, 1), help="Vanilla's score, from 0 to 1.  [default: the pilot's, by task, or 0.7]"
)
@click.option("--questions", type=Finite(1, 10**6), help="Questions per image.  [default: the pilot's, by task, or 2]")
@click.option("--seconds", type=Finite(min=0), help="Seconds per answer.  [default: the pilot's]")
@card_option
@list_option("--models", help="Models whose GPU hours are estimated, with --card.")
@list_option(
    "--strategies", help="Strategies whose GPU hours are estimated, with --card. They replace --num-strategies."
)
@list_option(
    "--budgets", default="1/3,2/9,1/9", help="Budgets of these strategies, with --card. They replace --num-budgets."
)
@dtype_option("bfloat16")
@offline_command
def plan(
    difference: float,
    margin: float | None,
    samples: int | None,
    sizes: Sequence[Sequence[str]],
    num_strategies: int,
    num_budgets: int,
    pilot: Path | None,
    **more: Any,
) -> None:
    """Estimate the samples, interval widths and hours of a run.

    Numbers of samples are for a power of 80 %: eight of ten such runs reach the verdict.
    """
    from tokenbench.comparison.planning import Assumptions
    from tokenbench.comparison.planning import plan as planned
    from tokenbench.store.describe import describe_frames

    parts = [part for given_sizes in sizes for part in given_sizes]
    hours = _hours_of(**{name: more.pop(name) for name in ("card", "models", "strategies", "budgets", "dtype")})
    if hours:
        num_strategies, num_budgets = hours.strategies, hours.budgets
    if pilot:
        run = open_run(pilot, {})
        margin = margin or run.manifest["spec"].get("margin")
        assumptions = list(measure_pilot(run, sized=bool(parts)).values())
        task_sizes = _sizes(parts, tuple(assumptions[0].between))
    else:
        task_sizes = _sizes(parts)
        assumptions = [Assumptions.default(tuple(task_sizes) or ("one task",))]
    if pilot and (frames := describe_frames(run.manifest)):
        say(f"In the pilot, models see {frames} of each clip. The estimates hold for this setting.", "")
    for at, about in enumerate(assumptions):
        about = about.changed(task_sizes, **more)
        if at:
            say("")
        found = planned(
            difference, margin or MARGIN, samples or about.size or SAMPLES, num_strategies, num_budgets, about
        )
        for line in [*found.lines(estimated=hours is not None), *(hours.lines(found) if hours else ())]:
            say(line)


@dataclass(frozen=True)
class _Hours:
    """What GPU hours are estimated from, besides the plan."""

    card: Card
    """The card."""
    models: tuple[str, ...]
    """The models, as the user names them."""
    arms: tuple[tuple[str, Strategy, Budget], ...]
    """Name, strategy and budget of every cell, vanilla first."""
    strategies: int
    """How many strategies there are."""
    budgets: int
    """At how many budgets they run."""
    dtype: str
    """The type of the numbers."""
    registry: Registry
    """The plug-ins."""

    def lines(self, plan: Plan) -> list[str]:
        """Return sentences on the GPU hours of a plan."""
        lines = []
        for model in self.models:
            lines += hours_of_sweep(
                model, self.arms, plan.samples, plan.images, self.card, self.dtype, self.registry, answers=plan.answers
            )
        return [*lines, BASIS]


def _hours_of(card: Card | None, dtype: str, **lists: Sequence[Sequence[str]]) -> _Hours | None:
    """Return what GPU hours are estimated from; None without a card."""
    from tokenbench.contract.budget import Budget
    from tokenbench.contract.cells import VANILLA
    from tokenbench.registry.names import parse_strategy
    from tokenbench.registry.plugins import registry

    models, names, budgets = (flat(lists[name]) for name in ("models", "strategies", "budgets"))
    if card is None:
        if models or names:
            raise UsageError("--models and --strategies require --card", "write, for example, --card h100")
        return None
    if not models or not names:
        raise UsageError("--card requires --models and --strategies", "FLOPs follow from the model and the schedules")
    parsed = [parse_strategy(name, registry()) for name in names if name != VANILLA]
    arms = [(VANILLA, parse_strategy(VANILLA, registry()).strategy, Budget.everything())]
    for named in parsed:
        own = map(Budget.parse, budgets) if named.strategy.budgeted else [Budget.none()]
        arms += [(named.name, named.strategy, budget) for budget in own]
    return _Hours(card, models, tuple(arms), len(parsed), len(budgets), dtype, registry())


def measure_pilot(run: Run, sized: bool) -> dict[str, Assumptions]:
    """Measure the assumptions of a plan on a pilot run.

    Args:
        run: The pilot run.
        sized: Whether the user gives the sizes of the tasks, so that no note is needed if the run does not know them.

    Returns:
        The assumptions by model. The tasks are as large as those of the suite, as far as the run knows.

    Raises:
        UsageError: The run holds answers of vanilla only.
    """
    from dataclasses import replace

    from tokenbench.comparison.planning import measure_assumptions

    units, whole = run.units(), run.whole()
    assumptions = measure_assumptions(units, run.manifest["spec"]["floors"])
    times = whole.groupby("model")["seconds"].mean().dropna().to_dict() if "seconds" in whole else dict[str, float]()
    assumptions = {name: replace(about, seconds=times.get(name)) for name, about in assumptions.items()}
    if not assumptions:
        raise UsageError(
            f"the pilot {run.folder} holds answers of vanilla only, so no difference can be estimated from it",
            "run a strategy in the same folder",
        )
    limit, stated = run.manifest["spec"]["limit"], run.manifest["tasks"]
    unit, sample = (rows.groupby("task")["sample"].nunique() for rows in (units, whole))
    totals = {task: stated.get(task, {}).get("samples" if limit is None else "of") for task in unit.index}
    if all(totals.values()):
        sizes = {task: round(totals[task] * unit[task] / sample[task]) for task in totals}
        return {name: about.changed(sizes) for name, about in assumptions.items()}
    if sized:
        return assumptions
    note = f"The pilot ran {limit} samples of each task. All tasks are assumed to have the same size unless --sizes gives it."
    return {name: replace(about, origin=f"{note}\n{about.origin}") for name, about in assumptions.items()}


def _sizes(parts: Sequence[str], tasks: Sequence[str] = ()) -> dict[str, int]:
    """Return the sizes of tasks.

    Args:
        parts: Texts such as `gqa=12578` or `12578`.
        tasks: The tasks of the pilot. If any size is given, there must be one for each of them. Without a pilot, any task is allowed.

    Raises:
        UsageError: The texts do not match the tasks.
    """
    names, texts = [part.rpartition("=")[0] for part in parts], [part.rpartition("=")[2] for part in parts]
    numbers = whole_numbers("--sizes", texts, least=1)
    if not any(names):
        names = list(tasks) if tasks else [f"task {at}" for at in range(1, len(texts) + 1)]
    fits = len(names) == len(set(names)) == len(texts) and all(names) and set(names) == set(tasks or names)
    if parts and not fits:
        expected = ", ".join(f"{name}=N" for name in tasks) or "each task once, either all with names or none"
        raise UsageError(f"--sizes {','.join(parts)[:100]} does not match the tasks", f"give {expected}")
    return dict(zip(names, numbers, strict=True)) if parts else {}
