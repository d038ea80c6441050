"""ToMe's bipartite soft matching between what a strategy drops and what it keeps."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize

from tokenbench import Merger
from tokenbench_strategies.indices import complement, sum_by_home

__all__ = ["Matching"]


class Matching(Merger):
    """Bipartite soft matching (ToMe, Bolya et al., ICLR 2023): every dropped token joins the most similar kept one.

    Similarity is the cosine of the states that enter the stage's layer; a kept token becomes the mean of all that
    joined it, weighted by how many tokens each stands for.
    """

    def merge(self, states: Tensor, sizes: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Merge each dropped token into the kept token of most similar direction, weighted by size."""
        states, count = states.float(), keep.shape[0]
        dropped = complement(keep, states.shape[0])
        kept, gone = states.index_select(0, keep), states.index_select(0, dropped)
        home = (normalize(gone, dim=-1) @ normalize(kept, dim=-1).T).argmax(1)
        own, others = (sizes.index_select(0, index).unsqueeze(1) for index in (keep, dropped))
        weights = own + sum_by_home(others, home, count)
        return (kept * own + sum_by_home(gone * others, home, count)) / weights, weights.squeeze(1)
