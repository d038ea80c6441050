"""DART: tokens that duplicate a few pivots go."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from tokenbench import Budget, Keep, Selection, Stage, Strategy, View
from tokenbench.contract.budget import count
from tokenbench_strategies.fastv import fastv_layer
from tokenbench_strategies.indices import find_marked

__all__ = ["DART", "pick_least_duplicated"]


class DART(Strategy):
    """DART (Wen et al., EMNLP 2025, arXiv 2502.11494): duplication matters more than importance.

    Pivots: the 4 visual and 4 question tokens of largest key (L1 norm over all heads, at layer K-1). The visual pivots
    stay; then every pivot in turn keeps its share of the tokens least like it (cosine of the final-normed states that
    enter layer K) among those that are left. One stage before layer K, 2 of 32; original positions; the caches of
    earlier layers stay.

    The released code keeps 4 + 8 floor(budget / 8) tokens and goes through the pivots in the order of a Python set of
    their places in the prompt: released=yes. By default, exactly the budget remains, visual pivots come first, and of
    both kinds those of largest key.
    """

    layer: int | None = Field(None, ge=1, description="K, the decoder layer before which tokens go; default 2 of 32")
    pivots: int = Field(4, ge=1, description="pivots among visual tokens, and as many among the question's")
    released: bool = Field(False, description="count and order of the pivots as in the released code")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage, before `layer` or at FastV's relative depth."""
        keep = budget.keep
        if self.released:
            both = 2 * self.pivots
            keep = self.pivots + both * (count(keep, budget.visual, budget.visual) // both)
        return [(self.layer or fastv_layer(depth), keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the hidden states that enter the layer, and for the keys of the layer before."""
        return Stage(layer, keep, hidden=(layer,), text=(layer,), keys=(layer - 1,), positions=self.released)

    def heeds_padding(self, words: int) -> bool:
        """Padding is no pivot, if there are enough words."""
        return words >= self.pivots

    def select(self, view: View) -> Selection:
        """Keep the pivots and, for each of them, the tokens that are least similar to it."""
        layer = view.stage.layer
        visual, text = (
            _pick_largest(view.keys[layer - 1], self.pivots),
            _pick_largest(view.text_keys[layer - 1], self.pivots, view.words),
        )
        states, words = (normalize(view.norm(s).float(), dim=-1) for s in (view.hidden[layer], view.text[layer]))
        pivots = torch.cat([states.index_select(0, visual), words.index_select(0, text)])
        if self.released and len(view.positions) == 1:  # M-RoPE's positions do not tell tokens apart
            places = torch.cat([view.positions[:, visual], view.text_positions[:, text]], 1)[0].tolist()
            pivots = pivots[[places.index(place) for place in set(places)]]
        return Selection(pick_least_duplicated(states @ pivots.T, visual[: view.k], view.k))


def pick_least_duplicated(similarity: Tensor, first: Tensor, k: int) -> Tensor:
    """Indices [k] of the first pivots and of the tokens that are least similar to a pivot, ascending.

    Args:
        similarity: [n, p] cosine of every token with every pivot. Each pivot takes an equal share of the tokens, and
            the first ones take one more if the number does not divide evenly.
        first: Indices of the visual pivots, which stay.
        k: How many tokens to keep, pivots included.
    """
    taken = torch.zeros(len(similarity), dtype=torch.bool, device=similarity.device).scatter(0, first, True)
    share, rest = divmod(k - len(first), similarity.shape[1])
    for p in range(similarity.shape[1]):
        ranked = similarity[:, p].masked_fill(taken, torch.inf).argsort(stable=True)
        taken = taken.scatter(0, ranked[: share + (p < rest)], True)
    return find_marked(taken, k)


def _pick_largest(keys: Tensor, count: int, real: Tensor | None = None) -> Tensor:
    """Indices of the keys [n, D] of largest L1 norm, among those that are real [n]; None if all are."""
    norms = keys.float().abs().sum(1)
    norms = norms if real is None else norms.masked_fill(~real, -1)
    return norms.argsort(descending=True, stable=True)[:count]
