"""VisionZip: dominant tokens, and contextual ones that stand for all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from tokenbench import Budget, Keep, Selection, Signal, Stage, Strategy, View
from tokenbench_strategies.indices import average_by_home, complement
from tokenbench_strategies.placement import check_before_decoder
from tokenbench_strategies.shares import crops

__all__ = ["VisionZip", "merge_contextual"]

_ATTENTION, _KEYS, _FEATURES = Signal("cls", -2), Signal("keys", -2), Signal("features")


class VisionZip(Strategy):
    """VisionZip (Yang et al., CVPR 2025, arXiv 2412.04467), before the projector.

    Dominant: 54 of 64 tokens, by [CLS] attention (mean over heads, the encoder's last but one layer). Contextual: 10 of
    64: of the other tokens every step-th is a target; each of the rest joins the target of most similar key (cosine,
    mean over heads), and the mean of those that joined it is added to a target's features. The projector comes after.
    The dominant tokens come first, in the order of the prompt, then the contextual ones. Positions are renumbered.

    The paper's counts are 54 + 10, 108 + 20 and 162 + 30; others are split in the same ratio. The released code also
    keeps the [CLS] token itself, first of all, and counts it as one of the dominant: released=yes, on encoders with a [CLS]
    of their own. It stands in the place of the first token that is dropped, so that pictures of kept tokens show it
    there. By default, another dominant token is kept instead. Every image, tile or frame is reduced by itself, as
    released; they share the budget in proportion to their tokens. Encoders without [CLS] (Qwen-VL): the mean attention
    a token receives.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"
    merges: ClassVar[bool] = True

    released: bool = Field(False, description="keep the [CLS] token as one of the dominant, as the released code does")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage before the decoder, which keeps the budget."""
        return [(0, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for [CLS] attention, keys and features of the vision encoder."""
        return check_before_decoder(self, Stage(layer, keep, hidden=(layer,), signals=(_ATTENTION, _KEYS, _FEATURES)))

    def select(self, view: View) -> Selection:
        """Keep the dominant and the contextual tokens of every image, tile or frame."""
        attention, keys, features = (view.signals[signal] for signal in view.stage.signals)
        states = view.hidden[view.stage.layer].float()
        keep, values = [], []
        for i, (crop, k) in enumerate(crops(view)):
            count = max(1, round(k * 10 / 64)) if k > 1 else 0
            with_cls = self.released and 0 < k < len(crop)
            ranked = crop[attention[crop].argsort(descending=True, stable=True)]
            dominant, rest = ranked.tensor_split([k - count - with_cls])
            dominant, left = dominant.sort().values, rest.sort().values
            own, states_of = [dominant], [states.index_select(0, dominant)]
            if count:
                targets, merged = merge_contextual(features, keys, left, count)
                own.append(targets)
                states_of.append(view.project(merged).float())
                places = torch.arange(count, device=left.device) * (len(left) // count)
                left = left[complement(places, len(left))]
            if with_cls:
                own.insert(0, left[:1])
                states_of.insert(0, view.project(view.frames[i].cls_features()[None]).float())
            keep += own
            values += states_of
        return Selection(torch.cat(keep), torch.cat(values))


def merge_contextual(features: Tensor, keys: Tensor, rest: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Choose evenly spaced targets and merge the other tokens into the most similar ones.

    Args:
        features: [n, C] features of all tokens.
        keys: [n, D] keys of all tokens.
        rest: Indices of the tokens to choose from and to merge, ascending.
        count: How many targets to choose.

    Returns:
        The targets' indices [count], and their features [count, C] plus the mean of those that joined them.
    """
    places = torch.arange(count, device=rest.device) * (len(rest) // count)
    targets, others = rest[places], rest[complement(places, len(rest))]
    directions = normalize(keys, dim=-1)
    home = (directions.index_select(0, others) @ directions.index_select(0, targets).T).argmax(1)
    means, _ = average_by_home(features.index_select(0, others), home, count)
    return targets, features.index_select(0, targets) + means
