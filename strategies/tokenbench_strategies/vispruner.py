"""VisPruner: what the encoder attends to, and what is unlike it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from tokenbench import Budget, Keep, Selection, Signal, Stage, Strategy, View
from tokenbench_strategies.indices import take
from tokenbench_strategies.shares import crops

__all__ = ["VisPruner", "pick_diverse"]

_ATTENTION, _FEATURES = Signal("cls", -2), Signal("features")
_ROUND = 8


class VisPruner(Strategy):
    """VisPruner (Zhang et al., ICCV 2025, arXiv 2412.01818), before the decoder.

    Important: half of the budget (`important`) goes to the highest [CLS] attention, mean over heads, in the encoder's
    last but one layer. Diverse: the rest, ranked by that attention, is thinned out in rounds of up to 8: every other
    token is compared with those between (cosine of encoder features), and the most similar of them go. As in the
    released code, after a round those that were compared and stayed come first, the most similar ahead, then those
    between.

    Positions are renumbered. Every image, tile or frame is pruned by itself; they share the budget in proportion to
    their tokens. Encoders without [CLS] (Qwen-VL): the mean attention a token receives.

    Precision: similarities are computed in float64, since every round builds on the one before and amplifies rounding.
    The released code runs in float16, which keeps 55 to 75 % of the same tokens; float32 depends on the machine.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"
    released_dtype: ClassVar[Literal["float32", "bfloat16", "float16"] | None] = "float16"
    batching: ClassVar[Literal["vmap", "stacked", "loop"]] = "stacked"

    important: float = Field(0.5, ge=0, le=1, description="share of the budget that goes by attention")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage before the decoder, which keeps the budget."""
        return [(0, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for [CLS] attention and features of the vision encoder."""
        return Stage(layer, keep, signals=(_ATTENTION, _FEATURES))

    def select(self, view: View) -> Selection:
        """Keep the important and the diverse tokens of every image, tile or frame."""
        attention, features = view.signals[_ATTENTION], view.signals[_FEATURES]
        kept = []
        for crop, k in crops(view):
            ranked = crop[attention[..., crop].argsort(dim=-1, descending=True, stable=True)]
            important, rest = ranked.tensor_split([int(k * self.important)], -1)
            kept += [important, pick_diverse(features, rest, k - important.shape[-1])]
        return Selection(torch.cat(kept, -1).sort(dim=-1).values)


def pick_diverse(features: Tensor, ranked: Tensor, k: int) -> Tensor:
    """Indices [..., k] of tokens that are unlike each other, found in rounds that drop the most similar ones.

    Args:
        features: [..., n, C] features of all tokens.
        ranked: Indices [..., m] of the tokens to choose from, most important first.
        k: How many to keep.
    """
    if not 0 < k < ranked.shape[-1]:
        return ranked[..., :k]
    directions = normalize(features.double(), dim=-1)
    # Those that are compared stand before those between, so that one gather a round fetches both.
    left = torch.cat([ranked[..., ::2], ranked[..., 1::2]], -1)
    while (count := left.shape[-1]) > k:
        own, half = take(directions, left), -(-count // 2)
        alike = (own[..., :half, :] @ own[..., half:, :].transpose(-1, -2)).amax(-1)
        order = alike.argsort(dim=-1, descending=True, stable=True)
        stay, between = left[..., :half].gather(-1, order[..., min(_ROUND, count - k) :]), left[..., half:]
        odd = stay.shape[-1] % 2
        left = torch.cat([stay[..., ::2], between[..., odd::2], stay[..., 1::2], between[..., 1 - odd :: 2]], -1)
    return left
