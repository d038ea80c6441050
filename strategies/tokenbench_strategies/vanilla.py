"""Vanilla: the backbone with every visual token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tokenbench import Budget, Keep, Strategy

__all__ = ["Vanilla"]


class Vanilla(Strategy):
    """No pruning. Every comparison is made against it, so that every run includes it; it takes no budget."""

    budgeted: ClassVar[bool] = False

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """No stage."""
        return []
