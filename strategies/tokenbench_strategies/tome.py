"""ToMe before the decoder: similar tokens are merged until the budget is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from tokenbench import Budget, Keep, Selection, Stage, Strategy, View
from tokenbench_strategies.indices import sum_by_home

__all__ = ["ToMe", "merge_until"]


class ToMe(Strategy):
    """Token merging (Bolya et al., ICLR 2023, arXiv 2210.09461), on the projected tokens before decoder layer 0.

    Bipartite soft matching: every other token proposes its most similar one among the rest (cosine); the most similar
    pairs are merged into size-weighted means, in rounds of at most half the tokens (rounded down), until the budget is
    left. As released, after a round the tokens that were not merged come first, the most similar ahead, then those that
    others could join. The original merges inside every layer of the vision encoder by its keys; the placement here is
    ours, so that it runs on every backbone. A merged token stands where its last target stood and keeps that position.
    """

    merges: ClassVar[bool] = True

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage before the decoder, which keeps the budget."""
        return [(0, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the projected tokens."""
        return Stage(layer, keep, hidden=(layer,))

    def select(self, view: View) -> Selection:
        """Merge the most similar tokens until the budget is left."""
        return Selection(*merge_until(view.hidden[view.stage.layer], view.k))


def merge_until(states: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Merge the most similar states, pair by pair, until k are left.

    Args:
        states: [n, C] states to merge.
        k: How many to leave.

    Returns:
        The indices [k] at which the merged states stand, ascending, and their size-weighted means [k, C], float32.
    """
    states = states.float()
    slots = torch.arange(len(states), device=states.device)
    sizes = torch.ones(len(states), 1, device=states.device)
    while len(states) > k:
        directions = normalize(states, dim=-1)
        similarity = directions[::2] @ directions[1::2].T
        count = min(len(states) - k, len(states) // 2)
        gone, alone = similarity.amax(1).argsort(descending=True, stable=True).tensor_split([count])
        home, weighted = similarity.argmax(1)[gone], states * sizes
        even, odd, size, joined = weighted[::2], weighted[1::2], sizes[::2], sizes[1::2]
        odd = odd + sum_by_home(even.index_select(0, gone), home, len(odd))
        joined = joined + sum_by_home(size.index_select(0, gone), home, len(odd))
        sizes = torch.cat([size.index_select(0, alone), joined])
        states = torch.cat([even.index_select(0, alone), odd]) / sizes
        slots = torch.cat([slots[::2][alone], slots[1::2]])
    order = slots.argsort()
    return slots[order], states.index_select(0, order)
