"""VisPruner: what the encoder attends to, and what is unlike it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from tokenbench import Budget, Keep, Selection, Signal, Stage, Strategy, View

__all__ = ["VisPruner", "diverse"]

_ATTENTION, _FEATURES = Signal("cls", -2), Signal("features")
_ROUND = 8


class VisPruner(Strategy):
    """VisPruner (Zhang et al., ICCV 2025, arXiv 2412.01818), before the decoder.

    Important: the share `important` of the budget goes to the highest [CLS] attention (mean over heads, the encoder's last but one layer).
    Diverse: the rest are ranked by that attention and thinned out in rounds of up to 8: every other token is compared with those between
    (cosine of encoder features), and of them the most similar go. Positions are renumbered.
    Encoders without [CLS] (Qwen-VL): the mean attention a token receives.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"

    important: float = Field(0.5, ge=0, le=1, description="share of the budget that goes by attention")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        return [(0, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        return Stage(layer, keep, signals=(_ATTENTION, _FEATURES))

    def select(self, view: View) -> Selection:
        ranked = view.signals[_ATTENTION].argsort(descending=True, stable=True)
        important, rest = ranked.tensor_split([int(view.k * self.important)])
        others = diverse(view.signals[_FEATURES], rest, view.k - len(important))
        return Selection(torch.cat([important, others]).sort().values)


def diverse(features: Tensor, ranked: Tensor, k: int) -> Tensor:
    """k of the tokens `ranked`, by rounds that drop those most like a neighbour in rank. features: [n, C]."""
    directions = normalize(features, dim=-1)
    while len(ranked) > k:
        even, odd = directions[ranked[::2]], directions[ranked[1::2]]
        if not len(odd):
            return ranked[:k]
        count = min(_ROUND, len(ranked) - k, len(even))
        alike = (even @ odd.T).max(1).values.argsort(descending=True, stable=True)[:count]
        left = torch.ones(len(ranked), dtype=torch.bool, device=ranked.device)
        left[2 * alike] = False
        ranked = ranked[left]
    return ranked
