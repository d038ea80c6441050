"""HoloV: the encoder's attention, with a quota for every stretch of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from tokenbench import Budget, Keep, Selection, Signal, Stage, Strategy, View
from tokenbench_strategies.shares import share_out

__all__ = ["HoloV", "share_by_weight"]

_ATTENTION = Signal("cls", -2)


class HoloV(Strategy):
    """HoloV (NeurIPS 2025), before the decoder.

    The tokens are cut, in raster order, into 16 consecutive stretches. A stretch's quota is its share of the summed
    mean [CLS] attention (mean over heads, the encoder's last but one layer), rounded down; the missing ones go one each
    to the heaviest. Inside a stretch the highest attention stays. The order is stretch by stretch, inside one by
    falling attention; positions are renumbered. On Qwen the released code cuts int(1024/576 n/k) stretches: crops=0.

    The released code adds a term for how much a token's similarity to its stretch varies, scaled so that its mean is 0.09 times that of the attention, which multiplies every weight by 1.09 and decides nothing;
    it is left out. A quota above a stretch's size is filled up with zero vectors in the released code; here other
    stretches get the rest, by weight. The Qwen code holds scores and tokens in different orders, which is not followed.
    Encoders without [CLS] (Qwen-VL): the mean attention a token receives. Several images count as one sequence.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"

    crops: int = Field(16, ge=0, description="stretches of tokens; 0 takes the number of the released Qwen code")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage before the decoder, which keeps the budget."""
        return [(0, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the [CLS] attention."""
        return Stage(layer, keep, signals=(_ATTENTION,))

    def select(self, view: View) -> Selection:
        """Keep every stretch's quota."""
        attention = view.signals[_ATTENTION]
        count = self.crops or max(1, int(1024 / 576 * view.n / view.k))
        stretches = torch.arange(view.n, device=attention.device).tensor_split(min(count, view.n))
        # A single token weighs its attention alone, in the released code, which scales the others.
        weights = torch.stack([attention[own].mean() * (1090 if len(own) > 1 else 1) for own in stretches])
        quotas = share_by_weight(view.k, weights, [len(own) for own in stretches])
        kept = [_highest(own, attention[own], quota) for own, quota in zip(stretches, quotas, strict=True)]
        return Selection(torch.cat(kept))


def share_by_weight(k: int, weights: Tensor, sizes: Sequence[int]) -> list[int]:
    """Share out k by weights [p], rounded down, the rest one each to the heaviest; none above its size."""
    quotas = (weights / (weights.sum() + 1e-6) * k).floor().long()
    heaviest = weights.argsort(descending=True, stable=True)
    quotas[heaviest[: k - int(quotas.sum())]] += 1
    counts: list[int] = quotas.tolist()
    if any(count > size for count, size in zip(counts, sizes, strict=True)):
        counts = share_out(k, weights.tolist(), sizes)
    return counts


def _highest(tokens: Tensor, attention: Tensor, k: int) -> Tensor:
    """The k of highest attention, by attention; all of them in their order."""
    return tokens if k == len(tokens) else tokens[attention.argsort(descending=True, stable=True)[:k]]
