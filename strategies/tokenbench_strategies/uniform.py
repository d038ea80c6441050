"""Evenly spaced tokens: a floor that covers the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field

from tokenbench import Budget, Keep, Selection, Strategy, View
from tokenbench_strategies.fastv import fastv_layer

__all__ = ["Uniform"]


class Uniform(Strategy):
    """Tokens at equal steps in the order of the prompt, at FastV's stage: rows of the image first, frames last."""

    layer: int | None = Field(None, ge=0, description="decoder layer before which tokens go; default 2 of 32, as FastV")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage, before `layer` or at FastV's relative depth."""
        return [(fastv_layer(depth) if self.layer is None else self.layer, budget.keep)]

    def select(self, view: View) -> Selection:
        """Keep tokens at equal steps."""
        steps = torch.arange(view.k, device=view.alive.device)
        return Selection((2 * steps + 1) * view.n // (2 * view.k))
