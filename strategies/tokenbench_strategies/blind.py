"""Blind: a floor that shows no image at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tokenbench import Budget, Keep, Selection, Strategy, View

__all__ = ["Blind"]


class Blind(Strategy):
    """No visual token: what a model answers from the question alone. It takes no budget."""

    budgeted: ClassVar[bool] = False

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage before the decoder, which keeps nothing."""
        return [(0, 0)]

    def select(self, view: View) -> Selection:
        """Keep no token."""
        return Selection(view.alive[:0])
