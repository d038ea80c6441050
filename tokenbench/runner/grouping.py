"""Which plans of a batch share a prefill, and which prefills share their decoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tokenbench.cost.matching import tokens_per_layer
from tokenbench.engine import RowPlan
from tokenbench.errors import InfeasibleError

__all__ = ["PADDING", "count_tokens", "group_decodes", "group_plans"]

PADDING = 0.05
"""The largest share of padding in a prefill, whose rows are padded to the longest. More costs more than another prefill."""

Lengths = Mapping[int, Sequence[float]]
"""Tokens in every decoder layer, by the number of the plan."""


def count_tokens(plan: RowPlan, visual: int, text: int) -> tuple[list[float], list[float]]:
    """Return the number of tokens in every decoder layer under a plan, and in its part of the KV cache after the prefill.

    Args:
        plan: The plan.
        visual: The number of visual tokens of the longest row.
        text: The number of text tokens of the longest row.
    """
    try:
        stages = plan.stages(visual, text)
    except InfeasibleError:
        stages = plan.typical
    fixed = [stage for stage in stages if stage.keep is not None]
    tokens = [n + text for n in tokens_per_layer(fixed, visual, plan.depth)]
    return tokens, [tokens[-1]] * len(tokens) if plan.trim else tokens


def group_plans(lengths: Lengths, starts: Mapping[int, int], fits: Callable[[Sequence[int]], bool]) -> list[list[int]]:
    """Group plans that run side by side: those with the same first layer and so similar lengths that padding is cheap.

    Args:
        lengths: The tokens that each plan computes. The same lengths make the same groups.
        starts: The first layer that each plan computes by itself.
        fits: Whether these plans fit into memory side by side.

    Returns:
        The numbers of the plans in each group.
    """
    order = sorted(lengths, key=lambda i: (starts[i], -sum(lengths[i]), i))
    together: list[list[int]] = []
    for i in order:
        group = [*together[-1], i] if together else [i]
        alike = starts[group[0]] == starts[i]
        if (
            together
            and alike
            and fits(group)
            and _count_padded(group, lengths) <= (1 + PADDING) * _count(group, lengths)
        ):
            together[-1] = group
        else:
            together.append([i])
    return together


def group_decodes(groups: Sequence[list[int]], fits: Callable[[Sequence[list[int]]], bool]) -> list[list[list[int]]]:
    """Put groups of plans together whose answers are decoded together, for as long as their caches fit into memory.

    Args:
        groups: The plans that are prefilled together.
        fits: Whether the caches of these groups fit into memory beside the prefill of any of them.
    """
    together: list[list[list[int]]] = []
    for group in groups:
        if together and fits([*together[-1], group]):
            together[-1].append(group)
        else:
            together.append([group])
    return together


def _count(plans: Sequence[int], lengths: Lengths) -> float:
    return sum(sum(lengths[i]) for i in plans)


def _count_padded(plans: Sequence[int], lengths: Lengths) -> float:
    padded: float = len(plans) * sum(map(max, zip(*(lengths[i] for i in plans), strict=True)))
    return padded
