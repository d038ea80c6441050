"""PruMerge+ with the number of tokens that it decides by itself: the outliers of the encoder's attention, as released."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tokenbench import Budget, Dial, Keep, Selection, View
from tokenbench_strategies.prumerge import PruMerge, find_outliers, find_spaced, weigh
from tokenbench_strategies.shares import crops

__all__ = ["PruMergeAdaptive"]


class PruMergeAdaptive(PruMerge):
    """LLaVA-PruMerge+ (Shang et al., ICCV 2025, arXiv 2403.15388), before the projector, with its own count.

    `prumerge` is held to a budget; here the count follows from the image, as in the released code: the outliers of the
    [CLS] attention at the encoder's last layer, every step-th token, 3 for each outlier, and one more token. Everything
    else is that of `prumerge`.

    An outlier lies above the third quartile by `fence` times the interquartile range, 1.5 in paper and code. With
    `--match`, `fence` is calibrated until the mean work is that of the budget (our choice: no paper does this).
    """

    budgeted: ClassVar[bool] = False
    dial: ClassVar[Dial | None] = Dial("fence", low=0.0, high=64.0, rising=False)

    fence: float = Field(1.5, ge=0, description="interquartile ranges above the third quartile where outliers begin")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage before the decoder, which keeps as many tokens as the image has outliers for."""
        return [(0, None)]

    def select(self, view: View) -> Selection:
        """Keep outlying and evenly spaced tokens, with similar ones merged in, image by image."""
        parts = [crop for crop, _ in crops(view)]
        masks, orders, features = [], [], []
        for crop in parts:
            attention, keys, own = (view.signals[signal][crop] for signal in view.stage.signals)
            everything, weights = torch.arange(len(crop), device=crop.device), weigh(attention)
            chosen, order = _choose(attention, self.fence)
            best = weights.masked_fill(chosen, -torch.inf).argmax(0, keepdim=True)
            is_extra = (everything == best) & ~chosen  # none if all are chosen
            rest = weights.masked_fill(chosen, 0).unsqueeze(0) @ own
            # How many are chosen is not known here, so that all take in their neighbours.
            merged = self.add_neighbours(everything, weights, keys, own)
            masks.append(chosen | is_extra)
            orders.append(order.masked_fill(is_extra, 2 * len(crop)))
            features.append(torch.where(is_extra.unsqueeze(1), rest, merged))
        back = torch.cat(parts).argsort()
        starts = accumulate((2 * len(crop) + 1 for crop in parts), initial=0)
        order = torch.cat([order + start for order, start in zip(orders, starts, strict=False)])
        values = view.project(torch.cat(features)).float()
        return Selection(torch.cat(masks)[back], values[back], order=order[back])


def _choose(attention: Tensor, fence: float) -> tuple[Tensor, Tensor]:
    """[n] which are outliers or evenly spaced, and [n] their order: outliers by attention, then the others, ascending."""
    n, is_outlier = len(attention), find_outliers(attention, fence)
    rank = attention.argsort(descending=True, stable=True).argsort()
    order = torch.where(is_outlier, rank, torch.arange(n, 2 * n, device=rank.device))
    return is_outlier | find_spaced(is_outlier), order
