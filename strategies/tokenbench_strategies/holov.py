"""HoloV: the encoder's attention, with a quota for every stretch of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from operator import gt
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
    batching: ClassVar[Literal["vmap", "stacked", "loop"]] = "stacked"

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
        count = min(self.crops or max(1, int(1024 / 576 * view.n / view.k)), view.n)
        stretch, size, limits = _cut(view.n, count, attention.device)
        blocks = _stack_stretches(attention, count)
        # A single token weighs its attention alone, in the released code, which scales the others.
        weights = torch.cat([block.mean(-1) * (1090 if block.shape[-1] > 1 else 1) for block in blocks], -1)
        quotas = share_by_weight(view.k, weights, limits)
        ranks = [block.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1) for block in blocks]
        rank = torch.cat([own.flatten(-2) for own in ranks], -1)
        quota = quotas[..., stretch]
        # By stretch, inside one by attention, or by place where all of it stays; what goes comes last.
        within = torch.where(quota == size, torch.arange(view.n, device=attention.device), rank)
        order = torch.where(rank < quota, stretch * view.n + within, view.n**2)
        return Selection(order.argsort(dim=-1, stable=True)[..., : view.k])


def _stack_stretches(attention: Tensor, count: int) -> list[Tensor]:
    """The stretches of attention [..., n] that are equally long, as [..., stretches, length]: the longer ones first."""
    length, longer = divmod(attention.shape[-1], count)
    forms = [form for form in ((longer, length + 1), (count - longer, length)) if form[0]]
    blocks = torch.split(attention, [number * own for number, own in forms], -1)
    return [block.reshape(*block.shape[:-1], *form) for block, form in zip(blocks, forms, strict=True)]


@lru_cache(maxsize=64)
def _cut(n: int, count: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The stretch of every one of n tokens, that stretch's size, and the sizes of all: made once, as copies wait."""
    sizes = [n // count + (i < n % count) for i in range(count)]
    stretch = [i for i, size in enumerate(sizes) for _ in range(size)]
    parts = (torch.tensor(part, device=device) for part in (stretch, [sizes[i] for i in stretch], sizes))
    first, second, third = parts
    return first, second, third


def share_by_weight(k: int, weights: Tensor, limits: Tensor) -> Tensor:
    """Share out k by weights [..., p], rounded down, the rest one each to the heaviest; none above its limit [p]."""
    quotas = (weights / (weights.sum(-1, keepdim=True) + 1e-6) * k).floor().long()
    rank = weights.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    quotas = quotas + (rank < k - quotas.sum(-1, keepdim=True))
    if bool((quotas > limits).any()):  # some stretches would be overfilled
        sizes = limits.tolist()
        counts = [
            share_out(k, own, sizes) if any(map(gt, quota, sizes)) else quota
            for own, quota in zip(*(part.reshape(-1, len(sizes)).tolist() for part in (weights, quotas)), strict=True)
        ]
        quotas = torch.tensor(counts, device=quotas.device).view(quotas.shape)
    return quotas
