"""ToMe's bipartite soft matching between what a strategy drops and what it keeps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from tokenbench import Merger

__all__ = ["Matching"]


class Matching(Merger):
    """Bipartite soft matching (ToMe, Bolya et al., ICLR 2023): every dropped token joins the most similar kept one.

    Similarity is the cosine of the states that enter the stage's layer; a kept token becomes the mean of all that
    joined it, weighted by how many tokens each stands for.
    """

    def merge(self, states: Tensor, sizes: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Merge each dropped token into the kept token of most similar direction, weighted by size."""
        states = states.float()
        dropped = torch.ones(len(states), dtype=torch.bool, device=states.device)
        dropped[keep] = False
        direction = normalize(states, dim=-1)
        home = (direction[dropped] @ direction[keep].T).argmax(1)
        weights = sizes[keep].index_add(0, home, sizes[dropped])
        totals = (states[keep] * sizes[keep, None]).index_add(0, home, states[dropped] * sizes[dropped, None])
        return totals / weights[:, None], weights
