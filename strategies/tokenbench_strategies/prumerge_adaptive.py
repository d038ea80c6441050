"""PruMerge+ with the number of tokens that it decides by itself: the outliers of the encoder's attention, as released."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tokenbench import Budget, Dial, Keep, Selection, View
from tokenbench_strategies.prumerge import PruMerge, find_outliers, find_spaced
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
        keep, features = [], []
        for crop, _ in crops(view):
            signals = [view.signals[signal][crop] for signal in view.stage.signals]
            chosen = _choose(signals[0], self.fence)
            chosen, merged = self.merge(chosen, *signals, extra=len(chosen) < len(crop))
            keep.append(crop[chosen])
            features.append(merged)
        return Selection(torch.cat(keep), view.project(torch.cat(features)).float())


def _choose(attention: Tensor, fence: float) -> Tensor:
    """Outliers by attention, then the evenly spaced others, ascending."""
    is_outlier = find_outliers(attention, fence)
    ranked = attention.argsort(descending=True, stable=True)
    spaced = ~is_outlier & find_spaced(is_outlier)
    return torch.cat([ranked[is_outlier[ranked]], spaced.nonzero().flatten()])
