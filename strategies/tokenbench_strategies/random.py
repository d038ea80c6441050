"""Random tokens: the floor that every method has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from tokenbench import Budget, Keep, Strategy, View
from tokenbench_strategies.fastv import fastv_layer

__all__ = ["Random"]


class Random(Strategy):
    """Tokens drawn uniformly without replacement, at FastV's stage.

    Every sample has a stream of its own, seeded by the run's seed and the sample's key: the draw depends neither on the
    batch nor on what ran before, and seeds vary by sample rather than all together.
    """

    stochastic: ClassVar[bool] = True
    batching: ClassVar[Literal["vmap", "stacked", "loop"]] = "stacked"
    seed_scope: ClassVar[Literal["sample", "run"]] = "sample"

    layer: int | None = Field(None, ge=0, description="decoder layer before which tokens go; default 2 of 32, as FastV")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage, before `layer` or at FastV's relative depth."""
        return [(fastv_layer(depth) if self.layer is None else self.layer, budget.keep)]

    def score(self, view: View) -> Tensor:
        """[n] random numbers of the sample's own generator."""
        return view.draw()
