"""Vanilla: the backbone with every visual token."""

from __future__ import annotations

from collections.abc import Sequence

from tokenbench import Budget, Stage, Strategy

__all__ = ["Vanilla"]


class Vanilla(Strategy):
    """No pruning. Every comparison is made against it, so that every run includes it; it takes no budget."""

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        return []
