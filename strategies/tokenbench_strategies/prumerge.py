"""PruMerge+: outliers of the encoder's attention and a uniform sample, which take in their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from tokenbench import Budget, Keep, Selection, Signal, Stage, Strategy, View
from tokenbench.strategy import top

__all__ = ["PruMerge", "outliers"]

_ATTENTION, _KEYS, _FEATURES = Signal("cls", -1), Signal("keys", -1), Signal("features")


class PruMerge(Strategy):
    """LLaVA-PruMerge+ (Shang et al., ICCV 2025, arXiv 2403.15388), before the projector.

    Chosen: outliers of the [CLS] attention at the encoder's last layer (above the third quartile by 1.5 times the interquartile range), and a
    uniform sample of the rest. Each takes in its 32 nearest tokens (cosine of keys) that were not chosen, added with their
    attention as weights; one more token is the attention-weighted sum of all that were not chosen. Positions are renumbered.
    The paper's count follows from the outliers; here it is held to the budget: the outliers of highest attention first, then the uniform
    sample. The released code takes the attention over the whole width instead of by heads. The extra token stands where the
    best of the others stood. Encoders without [CLS] (Qwen-VL): the mean attention a token receives.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"
    merges: ClassVar[bool] = True

    neighbours: int = Field(32, ge=0, description="how many tokens each chosen one takes in")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        return [(0, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        return Stage(layer, keep, hidden=(layer,), signals=(_ATTENTION, _KEYS, _FEATURES))

    def select(self, view: View) -> Selection:
        attention, features = view.signals[_ATTENTION], view.signals[_FEATURES]
        chosen = _chosen(attention, max(1, view.k - 1))
        left = torch.ones(view.n, dtype=torch.bool, device=chosen.device)
        left[chosen] = False
        others = left.nonzero().flatten()
        if not len(others) or view.k == 1:
            return Selection(chosen)
        weights = attention[others] / attention.sum()
        keys = normalize(view.signals[_KEYS], dim=-1)
        near = (keys[chosen] @ keys[others].T).topk(min(self.neighbours, len(others))).indices
        taken = features[chosen] + (weights[near, None] * features[others][near]).sum(1)
        extra = (weights[:, None] * features[others]).sum(0, keepdim=True)
        slots = torch.cat([chosen, others[attention[others].argmax()][None]]).sort()
        return Selection(slots.values, view.project(torch.cat([taken, extra])[slots.indices]).float())


def outliers(attention: Tensor) -> Tensor:
    """[n] which values lie above the third quartile by more than 1.5 interquartile ranges."""
    low, high = attention.quantile(0.25), attention.quantile(0.75)
    return attention > high + 1.5 * (high - low)


def _chosen(attention: Tensor, k: int) -> Tensor:
    """[k] ascending: outliers, the highest if there are too many, and every step-th of the other tokens."""
    found = outliers(attention).nonzero().flatten()
    if len(found) >= k:
        return top(torch.where(outliers(attention), attention, -torch.inf), k)
    left = torch.ones(len(attention), dtype=torch.bool, device=attention.device)
    left[found] = False
    rest, missing = left.nonzero().flatten(), k - len(found)
    steps = (2 * torch.arange(missing, device=rest.device) + 1) * len(rest) // (2 * missing)
    return torch.cat([found, rest[steps]]).sort().values
