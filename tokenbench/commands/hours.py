"""The option `--card`, and the sentences that say how many GPU hours a run would take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tokenbench.contract.budget import Budget
    from tokenbench.contract.strategy import Strategy
    from tokenbench.cost.hours import Card
    from tokenbench.registry.plugins import Registry
    from tokenbench.runner.resolve import Resolved

__all__ = ["BASIS", "card_option", "hours_of_run", "hours_of_sweep"]

BASIS = (
    "The share of the peak was measured once: LLaVA-1.5-7B on an H200 in bfloat16, batches of 24, answers of four tokens. Expect the "
    "estimate to be off by a factor of two either way, and to be far too low for long answers, small models and small batches: their "
    "decoding and kernel launches are not in the FLOPs. A small run and plan --pilot measure it."
)


class _Card(click.ParamType["Card"]):
    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Card:
        """Look the card up. Raises the errors of `parse_card`."""
        from tokenbench.cost.hours import parse_card

        return parse_card(value) if isinstance(value, str) else value


card_option = click.option(
    "--card",
    type=_Card(),
    help="Also estimate GPU hours on this card: h100, a100, l40s, … or its peak in TFLOP/s as a number.",
)


def hours_of_run(resolved: Resolved, card: Card, registry: Registry) -> list[str]:
    """Return sentences on the GPU hours of a run, by model.

    Raises:
        UsageError: The cost of a model is not known.
        MachineError: The configuration of a model cannot be read.
    """
    from tokenbench.contract.suite import first

    spec = resolved.spec
    if any(task.sampling for task in resolved.tasks):
        return ["GPU hours are not estimated for tasks that show clips; a small run and plan --pilot measure them."]
    asked = [first(task, spec.limit, spec.held_out) for task in resolved.tasks]
    questions = sum(map(len, asked))
    images = sum(len({sample.cluster for sample in samples}) for samples in asked)
    arms = [(arm.named.name, arm.named.strategy, arm.budget) for arm in resolved.arms]
    lines = []
    for model in spec.models:
        lines += hours_of_sweep(model, arms, questions, images, card, spec.dtype, registry, matched=spec.match)
    return [*lines, BASIS]


def hours_of_sweep(  # noqa: PLR0913
    model: str,
    arms: Iterable[tuple[str, Strategy, Budget]],
    questions: int,
    images: float,
    card: Card,
    dtype: str,
    registry: Registry,
    matched: str = "nominal",
    answers: int | None = None,
) -> list[str]:
    """Return sentences on the GPU hours of one model.

    Args:
        model: The model, as the user names it.
        arms: Name, strategy and budget of every cell, vanilla among them.
        questions: How many questions there are.
        images: How many images they are about.
        card: The card.
        dtype: The type of the numbers.
        registry: The plug-ins.
        matched: How budgets count.
        answers: How many answers there are in all; by default one of each cell to each question. Others cost as much on average.
    """
    from tokenbench.cost.hours import UTILISATION, gpu_hours
    from tokenbench.cost.sharing import foreseen_flops
    from tokenbench.cost.table import foresee_prompt

    cells = list(arms)
    prompt, size = foresee_prompt(model, registry, dtype=dtype)
    flops, unknown = foreseen_flops(size, prompt, cells, questions, images, matched)
    flops *= (answers or questions * len(cells)) / (questions * len(cells))
    peak = f"{100 * UTILISATION:.0f} % of the card's peak of {card.peak(dtype):g} TFLOP/s"
    said = [
        f"{model}: {_hours(gpu_hours(flops, card, dtype))} on {card}, for {_flops(flops)} at {peak} in {dtype}. These are encoding and prefill, with what "
        f"cells and questions share, of prompts with {prompt}."
    ]
    if unknown:
        said.append(f"Not counted, because their schedules cannot be known in advance: {', '.join(unknown)}.")
    return said


def _hours(hours: float) -> str:
    for unit, size in (("hours", 1.0), ("minutes", 60.0)):
        if hours * size >= 1:
            return f"about {hours * size:,.1f} {unit}"
    return f"about {hours * 3600:,.0f} seconds" if hours * 3600 >= 1 else "less than a second"


def _flops(flops: float) -> str:
    names: Sequence[tuple[float, str]] = ((1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP"))
    size, name = next((one for one in names if flops >= one[0]), names[-1])
    return f"{flops / size:,.2f} {name}"
