"""DivPrune: the subset of tokens that are least alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from tokenbench import Budget, Keep, Selection, Stage, Strategy, View

__all__ = ["DivPrune", "pick_diverse"]


class DivPrune(Strategy):
    """DivPrune (Alvar et al., CVPR 2025, arXiv 2503.02175): max-min diversity before the decoder.

    On the projected tokens, with cosine distance: first the token whose nearest neighbour is farthest, then, one by
    one, the token farthest from all that are chosen. Positions are renumbered. Neither the question nor attention plays
    a part. A share of the tokens is rounded to the nearest number, half to even, as released: 0.112 of 576 are 65.

    Precision: the released code decides in the model's half precision, here it is float32. On features that are smooth
    in space, float16 keeps 89 % of the same tokens on average, and 32 % at worst.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"
    released_dtype: ClassVar[Literal["float32", "bfloat16", "float16"] | None] = "float16"

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage before the decoder, which keeps the budget, rounded to the nearest number of tokens."""
        return [(0, budget.keep if budget.share is None else max(1, round(budget.share * budget.visual)))]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the projected tokens."""
        return Stage(layer, keep, hidden=(layer,))

    def select(self, view: View) -> Selection:
        """Keep the tokens that lie furthest apart."""
        return Selection(pick_diverse(view.hidden[view.stage.layer], view.k))


def pick_diverse(states: Tensor, k: int) -> Tensor:
    """[k] ascending indices of a greedy max-min subset of states [n, C] under cosine distance."""
    directions = normalize(states.float(), dim=-1)
    distance = 1 - directions @ directions.T
    apart = distance.clone().fill_diagonal_(torch.inf)
    chosen = torch.empty(k, dtype=torch.long, device=states.device)
    chosen[0] = apart.min(1).values.argmax() if len(states) > 1 else 0
    nearest = distance[chosen[0]].clone()
    for i in range(1, k):
        nearest[chosen[i - 1]] = -torch.inf
        chosen[i] = nearest.argmax()
        nearest = torch.minimum(nearest, distance[chosen[i]])
    return chosen.sort().values
