"""Ways to run a model, checked before anything is launched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenbench.contract.budget import Budget
from tokenbench.engine import RowPlan
from tokenbench.errors import InfeasibleError, UsageError
from tokenbench.registry.names import parse_strategy
from tokenbench_tools.bench.protocol import Way

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenbench.registry.plugins import Registry

__all__ = ["explain_infeasible", "make_plan", "make_ways"]


def make_ways(strategies: Sequence[str], budgets: Sequence[str], registry: Registry) -> tuple[Way, ...]:
    """Return every strategy at every budget; strategies that take no budget appear once.

    Raises:
        UsageError: If a strategy is unknown or lacks a budget.
    """
    if not strategies:
        raise UsageError(
            "no strategy is given", f"choose from these with --strategies: {', '.join(registry.names('strategies'))}"
        )
    parsed = [str(Budget.parse(budget)) for budget in budgets]
    found: dict[Way, None] = {}
    for text in strategies:
        named = parse_strategy(text, registry)
        if named.strategy.budgeted and not parsed:
            raise UsageError(f"strategy '{named.name}' needs a budget", "give one with --budgets")
        own = parsed if named.strategy.budgeted else [str(Budget.none())]
        found |= dict.fromkeys(Way(named.name, budget) for budget in own)
    return tuple(found)


def make_plan(way: Way, depth: int, registry: Registry) -> RowPlan:
    """Return the plan of a way on a decoder of `depth` layers.

    Raises:
        UsageError: If that decoder cannot run it.
    """
    named = parse_strategy(way.strategy, registry)
    budget = Budget.parse(way.budget) if named.strategy.budgeted else Budget.none()
    return RowPlan.make(named.strategy, budget, depth, name=named.name)


def explain_infeasible(plan: RowPlan, lengths: Sequence[int], text: int) -> str:
    """Say why a plan has no schedule for one of these numbers of visual tokens; empty if it has one for all."""
    for visual in lengths:
        try:
            plan.stages(visual, text)
        except InfeasibleError as error:
            return f"{plan.name} at {plan.budget} is infeasible for {visual} visual tokens: {error}"
    return ""
