"""Strategies put together from parts: one's scores, another's schedule, and a merger.

fastv@pdrop   FastV's scores at PDrop's stages, with PDrop's counts, positions and KV cache
fastv+merge   what FastV drops is merged into what it keeps
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel

from tokenbench.contract.budget import Budget
from tokenbench.contract.stage import Keep, Stage
from tokenbench.contract.strategy import Merger, Selection, Strategy
from tokenbench.contract.view import View
from tokenbench.errors import UsageError

__all__ = ["Composed", "compose"]


class Composed(Strategy):
    """scorer: whose `stage` and `select` are used. schedule_of: whose layers, counts, positions and KV cache. merger: if any."""

    scorer: Strategy
    schedule_of: Strategy
    merger: Merger | None = None

    @property
    def trim(self) -> bool:  # type: ignore[override]
        return self.schedule_of.trim

    @property
    def positions(self) -> Literal["original", "compact"]:  # type: ignore[override]
        return self.schedule_of.positions

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        return self.scorer.stochastic

    @property
    def seed_scope(self) -> Literal["sample", "run"]:  # type: ignore[override]
        return self.scorer.seed_scope

    @property
    def merges(self) -> bool:  # type: ignore[override]
        return self.scorer.merges or self.merger is not None

    @property
    def parts(self) -> Sequence[BaseModel]:
        merger = () if self.merger is None else (self.merger,)
        return (self, *self.scorer.parts, *self.schedule_of.parts, *merger)

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        return [(stage.layer, stage.keep) for stage in self.schedule_of.stages(depth, budget)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        own = self.scorer.stage(layer, keep, index)
        return own if self.merger is None else replace(own, hidden=tuple(sorted({*own.hidden, layer})))

    def select(self, view: View) -> Selection:
        selection = self.scorer.select(view)
        return selection if self.merger is None else self.merger.apply(selection, view)


def compose(name: str, scorer: Strategy, schedule_of: Strategy | None, merger: Merger | None) -> Strategy:
    """The composition `name`. Raises UsageError, with the reason, for parts that do not fit."""
    for part in (scorer, schedule_of):
        if part is not None and not part.budgeted:
            raise UsageError(
                f"'{name}': {type(part).__name__} takes no budget, so that it has neither scores nor a schedule to combine"
            )
        if part is not None and type(part).stages is not Strategy.stages:
            raise UsageError(
                f"'{name}': {type(part).__name__} cannot be combined with the schedule of another strategy, because it defines stages() itself"
            )
    if merger is not None and scorer.merges:
        raise UsageError(
            f"'{name}': {type(scorer).__name__} already merges tokens itself, so that none are left for a merger"
        )
    return Composed(scorer=scorer, schedule_of=schedule_of or scorer, merger=merger)
