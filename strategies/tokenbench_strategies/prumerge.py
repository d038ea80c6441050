"""PruMerge+: outliers of the encoder's attention and a uniform sample, which take in their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from tokenbench import Budget, Keep, Selection, Signal, Stage, Strategy, View
from tokenbench.contract.strategy import top
from tokenbench_strategies.placement import check_before_decoder
from tokenbench_strategies.shares import crops

__all__ = ["PruMerge", "find_outliers"]

_ATTENTION, _KEYS, _FEATURES = Signal("cls", -1), Signal("keys", -1), Signal("features")


class PruMerge(Strategy):
    """LLaVA-PruMerge+ (Shang et al., ICCV 2025, arXiv 2403.15388), before the projector.

    Chosen: outliers of the [CLS] attention at the encoder's last layer (above the third quartile by 1.5 times the
    interquartile range), and a uniform sample of the rest. To each are added its 32 nearest tokens (cosine of keys),
    with their attention as weights; one more token is the attention-weighted sum of all that were not chosen. The
    projector comes after. Positions are renumbered.

    In the paper the neighbours are tokens that were not chosen; in the released code, followed here, chosen ones count,
    too. The code takes the attention over the whole width instead of by heads, which is not followed.

    The paper's count follows from the outliers. Here it is held to the budget (our choice): the outliers of highest
    attention first, then the uniform sample, and the extra token, which stands where the best of the others stood.
    Weights are shares of all tokens' attention. Every image, tile or frame is reduced by itself; they share the budget
    in proportion to their tokens. Encoders without [CLS] (Qwen-VL): the mean attention a token receives.
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
                slots, merged = self._merge(k, *(view.signals[signal][crop] for signal in view.stage.signals))
                keep.append(crop[slots])
                features.append(merged)
        return Selection(torch.cat(keep), view.project(torch.cat(features)).float())

    def _merge(self, k: int, attention: Tensor, keys: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Slots [k], ascending, and features [k, C'] of one crop."""
        chosen = _choose(attention, max(1, k - 1))
        weights = attention / attention.sum()
        directions = normalize(keys, dim=-1)
        similarity = (directions[chosen] @ directions.T).scatter(1, chosen.unsqueeze(1), -torch.inf)
        near = similarity.topk(min(self.neighbours, len(keys) - 1)).indices
        merged = features[chosen] + torch.zeros_like(similarity).scatter(1, near, weights[near]) @ features
        if k == 1:
            return chosen, merged
        best = weights.index_fill(0, chosen, -torch.inf).argmax().unsqueeze(0)
        extra = weights.index_fill(0, chosen, 0).unsqueeze(0) @ features
        slots = torch.cat([chosen, best]).sort()
        return slots.values, torch.cat([merged, extra])[slots.indices]


def find_outliers(attention: Tensor) -> Tensor:
    """[n] which values lie above the third quartile by more than 1.5 interquartile ranges."""
    low, high = attention.quantile(0.25), attention.quantile(0.75)
    return attention > high + 1.5 * (high - low)


def _choose(attention: Tensor, k: int) -> Tensor:
    """[k] ascending: outliers, the highest if there are too many, and tokens at equal steps among the others."""
    is_outlier = find_outliers(attention)
    found, rest = is_outlier.nonzero().flatten(), (~is_outlier).nonzero().flatten()
    if len(found) >= k:
        return found[top(attention[found], k)]
    missing = k - len(found)
    steps = (2 * torch.arange(missing, device=rest.device) + 1) * len(rest) // (2 * missing)
    return torch.cat([found, rest[steps]]).sort().values
