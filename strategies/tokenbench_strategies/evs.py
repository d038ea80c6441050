"""EVS: what changes from one frame to the next stays."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from tokenbench import Budget, Keep, Stage, Strategy, View
from tokenbench_strategies.frames import clips

__all__ = ["EVS"]

_FIRST = 255.0


class EVS(Strategy):
    """Efficient Video Sampling (arXiv 2510.14624), as vLLM and SGLang run it, before the decoder.

    Score: 1 minus the cosine of a projected token with that at the same place of the frame before; the first frame
    comes before all others. One ranking over the clip, so that a frame may lose all of its tokens. Kept tokens keep
    their positions. Both engines compare embeddings; the paper is said to compare pixels.

    The engines never keep less than the first frame. Here the budget holds, and a smaller one keeps the first tokens
    of that frame; so does an image, which is a clip of one frame. Several clips share the budget in proportion to their
    tokens. The count of a share q pruned is int(n (1 - q)) in floating point, as released.
    Precision: a model in bfloat16 keeps 99 % of the same tokens.
    """

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage before the decoder, which keeps the budget."""
        if budget.share is None:
            return [(0, budget.keep)]
        pruned = 1 - float(budget.share)
        return [(0, max(1, int(budget.visual * (1 - pruned))))]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the projected tokens."""
        return Stage(layer, keep, hidden=(layer,), lattice=True)

    def score(self, view: View) -> Tensor:
        """[n] dissimilarity to the frame before; each clip's share of the budget is lifted above the rest."""
        states, score = view.hidden[view.stage.layer].float(), torch.zeros(view.n, device=view.alive.device)
        for at, k in clips(view):
            clip = states[at]
            changed = 1 - cosine_similarity(clip[1:], clip[:-1], dim=-1)
            own = torch.cat([changed.new_full((1, at.shape[1]), _FIRST), changed]).flatten()
            score = score.scatter(0, at.flatten()[own.argsort(descending=True, stable=True)[:k]], 1)
        return score
