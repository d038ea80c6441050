"""Tokens in sets, such as those of a frame that do not stand still: ranked and clustered set by set, for all sets at once.

A set is a number that its tokens share. How large the sets are is known on the device alone: nothing here asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tokenbench_strategies.density import measure_distances

__all__ = ["SetClusters", "cluster_sets", "rank_in_sets"]

_MOST = 1 << 27
"""Distances that are computed at once: half a gigabyte of them."""


@dataclass(frozen=True)
class SetClusters:
    """Clusters of the tokens of sets, around density peaks."""

    is_peak: Tensor
    """[..., m] which tokens clusters are made around."""
    rank: Tensor
    """[..., m] the place of every token when they are ordered by set, and in a set the highest peak first."""
    home: Tensor
    """[..., m] the peak of every token's cluster; -1 for tokens of no set."""


def rank_in_sets(score: Tensor, sets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Order tokens [..., n] by set, and in a set by falling score. Ties go to the earlier position.

    Returns:
        The order [..., n], and for each token in this order its place in its own set, and that set's size.
    """
    by_score = score.argsort(dim=-1, descending=True, stable=True)
    order = by_score.gather(-1, sets.gather(-1, by_score).argsort(dim=-1, stable=True))
    ordered = sets.gather(-1, order)
    first, end = (torch.searchsorted(ordered, ordered, right=right) for right in (False, True))
    return order, torch.arange(sets.shape[-1], device=sets.device) - first, end - first


def cluster_sets(states: Tensor, sets: Tensor, share: float, neighbours: int, fewest: int = 0) -> SetClusters:
    """Cluster the tokens of each set around its density peaks, as `density.find_peaks` finds them.

    Args:
        states: [..., m, C] states of the tokens.
        sets: [..., m] their sets; tokens with a negative number are in none.
        share: How many clusters, as a share of the tokens of a set, rounded down.
        neighbours: How many nearest states make up the density.
        fewest: Sets of so many tokens or fewer stay as they are, and keep their order.
    """
    m = sets.shape[-1]
    each = max(1, _MOST // m**2)
    parts = zip(
        torch.split(states.reshape(-1, *states.shape[-2:]), each), torch.split(sets.reshape(-1, m), each), strict=True
    )
    found = [_cluster(own_states, own_sets, share, neighbours, fewest) for own_states, own_sets in parts]
    columns = found[0] if len(found) == 1 else map(torch.cat, zip(*found, strict=True))
    return SetClusters(*(column.view(sets.shape) for column in columns))


def _cluster(states: Tensor, sets: Tensor, share: float, neighbours: int, fewest: int) -> tuple[Tensor, Tensor, Tensor]:
    distance = measure_distances(states)
    together = sets.unsqueeze(-1) == sets.unsqueeze(-2)
    size = together.sum(-1)
    few = size <= fewest
    score = _rate_peaks(distance, together, neighbours).masked_fill(few, 0)
    order, place, _ = rank_in_sets(score, sets)
    rank = order.argsort(dim=-1)
    is_peak = place.gather(-1, rank) < torch.where(few, size, (share * size.double()).long())
    # Of equally near peaks, the highest is a token's own.
    columns = order.unsqueeze(-2).expand_as(distance)
    far = ~(together & is_peak.unsqueeze(-2))
    nearest = distance.masked_fill(far, torch.inf).gather(-1, columns).argmin(-1)
    itself = torch.arange(sets.shape[-1], device=sets.device)
    home = torch.where(is_peak, itself, order.gather(-1, nearest))
    none = sets < 0
    return is_peak & ~none, rank, home.masked_fill(none, -1)


def _rate_peaks(distance: Tensor, together: Tensor, neighbours: int) -> Tensor:
    """[..., m] how dense states are, times how far from anything denser of their set; `together` says which share one."""
    apart = ~together
    nearest = distance.masked_fill(apart, torch.inf).topk(min(neighbours, distance.shape[-1]), largest=False).values
    density = (-nearest.square().mean(-1)).exp()
    # Of equally dense tokens the earlier counts as denser.
    rank = density.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    denser = (rank.unsqueeze(-2) < rank.unsqueeze(-1)) & together
    reach = distance.masked_fill(apart, 0).amax(-1)
    widest = reach.unsqueeze(-2).masked_fill(apart, 0).amax(-1, keepdim=True)  # of all distances in the set
    return density * torch.where(denser, distance, widest).amin(-1)
