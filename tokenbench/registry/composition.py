"""Strategies that are composed of parts: the scores of one strategy, the schedule of another, and a merger.

fastv@pdrop   FastV's scores at PDrop's stages, with PDrop's counts, positions and KV cache
fastv+merge   the tokens that FastV drops are merged into those that it keeps
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel

from tokenbench.contract.budget import Budget
from tokenbench.contract.stage import Keep, Stage
from tokenbench.contract.strategy import Merger, Selection, Strategy, may_pad
from tokenbench.contract.view import View
from tokenbench.errors import UsageError

__all__ = ["Composed", "compose"]


class Composed(Strategy):
    """A strategy that is composed of parts."""

    scorer: Strategy
    """The strategy whose `stage` and `select` are used."""
    schedule_of: Strategy
    """The strategy whose layers, counts, positions and KV cache are used."""
    merger: Merger | None = None
    """The merger of the tokens that the scorer drops, if any."""

    def trims(self, depth: int) -> bool:
        """Whether the schedule's strategy trims the KV cache."""
        return self.schedule_of.trims(depth)

    @property
    def positions(self) -> Literal["original", "compact"]:  # type: ignore[override]
        """The positions of the schedule's strategy."""
        return self.schedule_of.positions

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        """Whether the scorer draws at random."""
        return self.scorer.stochastic

    @property
    def seed_scope(self) -> Literal["sample", "run"]:  # type: ignore[override]
        """What one draw of the scorer's seed may move."""
        return self.scorer.seed_scope

    @property
    def released_dtype(self) -> Literal["float32", "bfloat16", "float16"] | None:  # type: ignore[override]
        """That of the scorer."""
        return self.scorer.released_dtype

    @property
    def merges(self) -> bool:  # type: ignore[override]
        """Whether the scorer merges tokens, or there is a merger."""
        return self.scorer.merges or self.merger is not None

    @property
    def parts(self) -> Sequence[BaseModel]:
        """This strategy and all its parts."""
        merger = () if self.merger is None else (self.merger,)
        return (self, *self.scorer.parts, *self.schedule_of.parts, *merger)

    def heeds_padding(self, words: int) -> bool:
        """Whether the scorer does."""
        return may_pad(self.scorer, words)

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """Return the layers and counts of the schedule's strategy."""
        return [(stage.layer, stage.keep) for stage in self.schedule_of.stages(depth, budget)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Return the scorer's stage. A merger also needs the hidden states at its layer."""
        own = self.scorer.stage(layer, keep, index)
        return own if self.merger is None else replace(own, hidden=tuple(sorted({*own.hidden, layer})))

    def select(self, view: View) -> Selection:
        """Select as the scorer does, and merge the dropped tokens."""
        selection = self.scorer.select(view)
        return selection if self.merger is None else self.merger.apply(selection, view)


def compose(name: str, scorer: Strategy, schedule_of: Strategy | None, merger: Merger | None) -> Strategy:
    """Compose a strategy of parts.

    Args:
        name: The name of the composition, for errors.
        scorer: The strategy whose scores are used.
        schedule_of: The strategy whose schedule is used; by default, the scorer.
        merger: The merger of dropped tokens, if any.

    Raises:
        UsageError: The parts do not fit together.
    """
    for part in (scorer, schedule_of):
        if part is not None and not part.budgeted:
            raise UsageError(
                f"'{name}': {type(part).__name__} takes no budget, so that it has no scores and no counts to combine"
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
