"""What a sweep computes in all, where its cells share what they have in common, as `run` does.

Encoders run once for an image. The layers before a strategy's first stage are those of vanilla's pass. Questions on one image share what
comes before their words in every layer that their words have not changed. Decoding and what a strategy itself computes are not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tokenbench.contract.budget import Budget
from tokenbench.contract.sizes import ModelSize
from tokenbench.contract.strategy import Strategy
from tokenbench.cost.macs import encoder_macs, flops, layer_macs
from tokenbench.cost.matching import match
from tokenbench.cost.realised import decoder_macs
from tokenbench.cost.table import Prompt, foresee
from tokenbench.engine import RowPlan, RowTrace
from tokenbench.errors import InfeasibleError

__all__ = ["foreseen_flops", "shared_macs"]


def shared_macs(
    size: ModelSize,
    plans: Sequence[RowPlan],
    traces: Sequence[Sequence[RowTrace]],
    images: float,
    questions_share: bool = True,
) -> float:
    """Multiply-accumulates of all plans on the same questions.

    Args:
        size: The sizes of the model.
        plans: The plans, vanilla among them.
        traces: What each plan left of every question.
        images: How many images the questions are about.
        questions_share: Whether questions on one image share what comes before their words.
    """
    again = (1 - images / len(traces[0])) if questions_share else 0.0  # of questions whose image another one shows
    macs = images * encoder_macs(size.encoder, traces[0][0].grids)
    for plan, rows in zip(plans, traces, strict=True):
        alike = _layers_alike(plan)
        for row in rows:
            macs += decoder_macs(row, size) - _prefix_macs(size, row)
            macs -= again * sum(layer_macs(size.decoder, n, n) for n in row.tokens_per_layer[alike])
    return macs


def foreseen_flops(
    size: ModelSize,
    prompt: Prompt,
    arms: Iterable[tuple[str, Strategy, Budget]],
    questions: int,
    images: float,
    matched: str = "nominal",
) -> tuple[float, list[str]]:
    """FLOPs of a sweep whose questions all have the same prompt, from schedules alone.

    Args:
        size: The sizes of the model.
        prompt: The prompt.
        arms: Name, strategy and budget of every cell, vanilla among them.
        questions: How many questions there are.
        images: How many images they are about.
        matched: How budgets count.

    Returns:
        The FLOPs, and the names of arms that are not counted, since their schedule cannot be foreseen or is infeasible.
    """
    plans, traces, unknown = [], [], []
    for name, strategy, budget in arms:
        fit = match(matched, strategy, budget, size.decoder.layers, size)
        plan = RowPlan.make(strategy, budget, size.decoder.layers, fit=fit, name=name)
        try:
            trace = foresee(plan, prompt)
        except InfeasibleError:
            unknown.append(f"{name} at {budget}")
            continue
        plans.append(plan)
        traces.append([trace])
    return flops(questions * shared_macs(size, plans, traces, images / questions)), unknown


def _layers_alike(plan: RowPlan) -> slice:
    """In which layers, after the prefix, questions on one image have the same visual tokens."""
    seeing = [stage.layer for stage in plan.typical if not stage.blind or plan.strategy.stochastic]
    first = plan.typical[0].layer if plan.typical else 0
    return slice(first, min(seeing, default=plan.depth))


def _prefix_macs(size: ModelSize, row: RowTrace) -> float:
    """Of the layers before a row's first stage."""
    first = row.stages[0][0] if row.stages else 0
    return first * layer_macs(size.decoder, row.visual + row.text, row.visual + row.text)
