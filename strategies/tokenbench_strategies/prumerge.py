"""PruMerge+: outliers of the encoder's attention and a uniform sample, which take in their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from tokenbench import Budget, Keep, Selection, Signal, Stage, Strategy, View
from tokenbench_strategies.indices import find_even
from tokenbench_strategies.placement import check_before_decoder
from tokenbench_strategies.shares import crops

__all__ = ["PruMerge", "find_outliers", "find_spaced", "weigh"]

_ATTENTION, _KEYS = (Signal(kind, -1, "joined") for kind in ("cls", "keys"))
_FEATURES = Signal("features")


class PruMerge(Strategy):
    """LLaVA-PruMerge+ (Shang et al., ICCV 2025, arXiv 2403.15388), before the projector.

    Chosen: outliers of the [CLS] attention at the encoder's last layer (above the third quartile by 1.5 times the
    interquartile range), and every step-th token, 3 for each outlier. To each are added its 32 nearest tokens (cosine
    of keys), with their attention as weights; one more token is the attention-weighted sum of all that were not chosen.
    The projector comes after. The order is that of the attention for outliers, then the evenly spaced tokens, then the
    extra one; positions are renumbered.

    In the paper the neighbours are tokens that were not chosen; in the released code, followed here, chosen ones count,
    too. The code computes the attention and compares the keys over the whole width instead of by heads, with a softmax
    that [CLS] itself is part of; this is followed, too.

    The count follows from the outliers, as released. Here it is held to the budget (our choice), which changes nothing
    where the budget is that count: the outliers of highest attention first, then the evenly spaced tokens, thinned out
    or filled up evenly, and the extra token. Every image, tile or frame is reduced by itself; they share the budget in
    proportion to their tokens. Encoders without [CLS] (Qwen-VL): the share of the attention that a token receives.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"
    merges: ClassVar[bool] = True

    neighbours: int = Field(32, ge=0, description="how many tokens are added to each chosen one")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage before the decoder, which keeps the budget."""
        return [(0, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for [CLS] attention, keys and features of the vision encoder."""
        return check_before_decoder(self, Stage(layer, keep, signals=(_ATTENTION, _KEYS, _FEATURES)))

    def select(self, view: View) -> Selection:
        """Keep outlying and evenly spaced tokens, with similar ones merged in, image by image."""
        keep, features = [], []
        for crop, k in crops(view):
            if k:
                attention, keys, own = (view.signals[signal][crop] for signal in view.stage.signals)
                chosen, weights = _choose(attention, max(1, k - 1)), weigh(attention)
                keep.append(crop[chosen])
                features.append(self.add_neighbours(chosen, weights, keys, own))
                if k > 1:
                    best = weights.scatter(0, chosen, -torch.inf).argmax(0, keepdim=True)
                    keep.append(crop[best])
                    features.append(weights.scatter(0, chosen, 0).unsqueeze(0) @ own)
        return Selection(torch.cat(keep), view.project(torch.cat(features)).float())

    def add_neighbours(self, chosen: Tensor, weights: Tensor, keys: Tensor, features: Tensor) -> Tensor:
        """The features [k, C'] of the chosen tokens [k] of one crop, with those of their neighbours by weight."""
        directions = normalize(keys, dim=-1)
        similarity = directions.index_select(0, chosen) @ directions.T
        near = similarity.scatter(1, chosen.unsqueeze(1), -torch.inf).topk(min(self.neighbours, len(keys) - 1)).indices
        added = torch.zeros_like(similarity).scatter(1, near, weights.expand_as(similarity).gather(1, near))
        return features.index_select(0, chosen) + added @ features


def weigh(attention: Tensor) -> Tensor:
    """[n] how much each token counts where it is merged."""
    return attention / attention.sum().clamp(min=1)  # only what tokens receive adds up to more


def find_outliers(attention: Tensor, fence: float = 1.5) -> Tensor:
    """[n] which values lie above the third quartile by more than `fence` interquartile ranges."""
    ordered = attention.sort().values
    low, high = (_read_quantile(ordered, share) for share in (0.25, 0.75))
    return attention > high + fence * (high - low)


def _read_quantile(ordered: Tensor, share: float) -> Tensor:
    """A quantile of ascending numbers [n], linear between two of them; `Tensor.quantile` would go sample by sample."""
    place = share * (len(ordered) - 1)
    return ordered[floor(place)].lerp(ordered[ceil(place)], place % 1)


def find_spaced(is_outlier: Tensor) -> Tensor:
    """[n] which tokens are evenly spaced, 3 for each outlier [n], outliers among them."""
    n = len(is_outlier)
    place = torch.arange(n, device=is_outlier.device)
    step = (n // is_outlier.sum().clamp(min=1) // 3).clamp(min=1)
    return (place % step == 0) & (place < n - 1)  # the last token is never among them, as released


def _choose(attention: Tensor, k: int) -> Tensor:
    """[k] outliers by attention, then the evenly spaced others, ascending."""
    n, is_outlier = len(attention), find_outliers(attention)
    is_spaced = find_spaced(is_outlier) & ~is_outlier
    missing = (k - is_outlier.sum()).clamp(min=0)
    filling = (missing - is_spaced.sum()).clamp(min=0)
    chosen = find_even(is_spaced, missing) | find_even(~is_outlier & ~is_spaced, filling)
    rank = attention.argsort(descending=True, stable=True).argsort()
    # Outliers come first, then what was chosen by place, then all others.
    by_place = (n + torch.arange(n, device=rank.device)).masked_fill(~chosen, 2 * n)
    return torch.where(is_outlier, rank, by_place).argsort(stable=True)[:k]
