"""HiRED: a budget for every crop, and the encoder's attention within it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch

from tokenbench import Budget, Keep, Selection, Signal, Stage, Strategy, View
from tokenbench.contract.strategy import top
from tokenbench_strategies.shares import crops

__all__ = ["HiRED"]

_EARLY, _LATE = Signal("cls", 0), Signal("cls", -2)


class HiRED(Strategy):
    """HiRED (Arif et al., AAAI 2025, arXiv 2408.10945), before the decoder.

    Score: [CLS] attention of a late encoder layer (the last but one), heads together. With several crops (tiles,
    images, frames) the budget is first shared out by the [CLS] attention mass that each crop's patches have in the
    first layer. Positions are renumbered.

    In the paper the full image's early attention over the regions of the crops shares the budget out, half of it being
    the full image's own; where a tile lies is not known on every backbone, so that every crop's own mass counts here.
    Encoders without [CLS] (Qwen-VL): the mean attention a token receives.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage before the decoder, which keeps the budget."""
        return [(0, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the [CLS] attention of an early and of a late encoder layer."""
        return Stage(layer, keep, signals=(_EARLY, _LATE))

    def select(self, view: View) -> Selection:
        """Keep the top tokens of every tile by late attention; the tiles share the budget by early attention."""
        early, late = view.signals[_EARLY], view.signals[_LATE]
        return Selection(torch.cat([crop[top(late[crop], k)] for crop, k in crops(view, early)]))
