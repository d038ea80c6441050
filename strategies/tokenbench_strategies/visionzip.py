"""VisionZip: dominant tokens, and contextual ones that stand for all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from tokenbench import Budget, Keep, Selection, Signal, Stage, Strategy, View
from tokenbench.strategy import top

__all__ = ["VisionZip", "contextual"]

_ATTENTION, _KEYS, _FEATURES = Signal("cls", -2), Signal("keys", -2), Signal("features")


class VisionZip(Strategy):
    """VisionZip (Yang et al., CVPR 2025, arXiv 2412.04467), before the projector.

    Dominant: 54 of 64 tokens, by [CLS] attention (mean over heads, the encoder's last but one layer). Contextual: 10 of 64: of the other tokens
    every step-th is a target; each of the rest joins the target of most similar key (cosine, mean over heads), and to a
    target's features is added the mean of those that joined it. The projector comes after. Positions are renumbered.
    The paper's counts are 54 + 10, 108 + 20 and 162 + 30; others are split in the same ratio. The released code also keeps the
    [CLS] token itself and counts it as one of the dominant; stock LLaVA has no place for it, and another dominant token stands in.
    Encoders without [CLS] (Qwen-VL): the mean attention a token receives.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"
    merges: ClassVar[bool] = True

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        return [(0, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        return Stage(layer, keep, hidden=(layer,), signals=(_ATTENTION, _KEYS, _FEATURES))

    def select(self, view: View) -> Selection:
        count = max(1, round(view.k * 10 / 64)) if view.k > 1 else 0
        dominant = top(view.signals[_ATTENTION], view.k - count)
        if not count:
            return Selection(dominant)
        slots, features = contextual(view.signals[_FEATURES], view.signals[_KEYS], dominant, count)
        values = torch.cat([view.hidden[view.stage.layer][dominant].float(), view.project(features).float()])
        order = torch.cat([dominant, slots]).sort()
        return Selection(order.values, values[order.indices])


def contextual(features: Tensor, keys: Tensor, dominant: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Targets [count] among the tokens that are not dominant, and their features with the mean of those that joined them.

    features: [n, C]. keys: [n, D].
    """
    left = torch.ones(len(features), dtype=torch.bool, device=features.device)
    left[dominant] = False
    rest = left.nonzero().flatten()
    is_target = torch.zeros(len(rest), dtype=torch.bool, device=rest.device)
    is_target[:: max(1, len(rest) // count)] = True
    is_target &= is_target.cumsum(0) <= count
    targets, others = rest[is_target], rest[~is_target]
    directions = normalize(keys, dim=-1)
    home = (directions[others] @ directions[targets].T).argmax(1)
    sums = torch.zeros_like(features[targets]).index_add(0, home, features[others])
    joined = home.bincount(minlength=len(targets)).clamp(min=1)
    return targets, features[targets] + sums / joined.unsqueeze(1)
