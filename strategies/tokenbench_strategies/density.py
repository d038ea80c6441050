"""Density-peak clusters: how SparseVLM and CLSE-M recycle tokens that are about to be dropped."""

from __future__ import annotations

import torch
from torch import Tensor

from tokenbench import Keep, Selection
from tokenbench_strategies.indices import average_by_home

__all__ = [
    "Recycled",
    "cluster_states",
    "count_clusters",
    "find_peaks",
    "keep_and_recycle",
    "mark_peaks",
    "measure_distances",
    "split",
]

RECYCLED = 0.3


class Recycled(int):
    """What a stage leaves: tokens that it keeps, and clusters of tokens that it drops; as a number, both together.

    The sum alone does not say how many of each: 48 + 7 and 49 + 6 are both 55 of 245.
    """

    kept: int
    """Tokens that stay as they are."""

    def __new__(cls, kept: int, clusters: int) -> Recycled:
        """Add the tokens that stay and the clusters."""
        total = super().__new__(cls, kept + clusters)
        total.kept = kept
        return total

    def __eq__(self, other: object) -> bool:
        return int(self) == other and self.kept == getattr(other, "kept", self.kept)

    __hash__ = int.__hash__

    def __getnewargs__(self) -> tuple[int, int]:  # type: ignore[override]
        return self.kept, self - self.kept


def split(total: int, n: int) -> tuple[int, int]:
    """Numbers of kept tokens and of clusters that together make `total` of n tokens.

    It is for totals that a user names; a schedule that knows both numbers says so with `Recycled`. The reference recycles the best m = int(0.3 d) + 1 of the d tokens it drops, into int(m / 10) + 1 clusters; here the
    sum is given and the number kept follows.
    """
    kept = total
    while kept > 1 and kept + count_clusters(n - kept) > total:
        kept -= 1
    return kept, total - kept


def count_clusters(dropped: int) -> int:
    """How many clusters are made of that many dropped tokens."""
    return (int(RECYCLED * dropped) + 1) // 10 + 1 if dropped else 0


def find_peaks(states: Tensor, count: int, neighbours: int) -> Tensor:
    """Density peaks (Rodriguez and Laio, Science 2014): states that are dense and far from anything denser.

    The density of a state is exp(-mean squared distance to the nearest states, itself among them), with distances over
    sqrt(C). Ties go to the first state, where released code adds noise.

    Args:
        states: [m, C] states.
        count: How many peaks to find.
        neighbours: How many nearest states make up the density.

    Returns:
        Indices of the peaks [count], ascending.
    """
    return _find_peaks(measure_distances(states), count, neighbours)


def mark_peaks(states: Tensor, count: Tensor, neighbours: int, members: Tensor | None = None) -> Tensor:
    """Density peaks as `find_peaks` finds them, in sets of unlike sizes and with unlike numbers of peaks at once.

    Args:
        states: [..., m, C] states of every set.
        count: [...] how many peaks each has.
        neighbours: How many nearest states make up the density.
        members: [..., m] which states count, as many as there are peaks at least; None for all.

    Returns:
        [..., m] which states are the peaks.
    """
    height = _rate(measure_distances(states), neighbours, members)
    return height.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1) < count.unsqueeze(-1)


def _rate(distance: Tensor, neighbours: int, members: Tensor | None = None) -> Tensor:
    """[..., m] density times the distance to the nearest denser state, from distances [..., m, m]; below 0 for no members."""
    if distance.shape[-1] == 0:
        return distance.sum(-1)
    # What none is denser than is the highest, whatever is farthest from whatever.
    farthest = distance.amax((-2, -1), keepdim=True)
    if members is not None:
        distance = distance.masked_fill(~members.unsqueeze(-2), torch.inf)
    near = distance.topk(min(neighbours, distance.shape[-1]), largest=False).values.square()
    if members is None:
        density = (-near.mean(-1)).exp()
    else:
        number = members.sum(-1, keepdim=True).clamp(1, neighbours)
        density = (-near.masked_fill(near.isinf(), 0).sum(-1) / number).exp().masked_fill(~members, -1)
    # Of equally dense states the earlier counts as denser.
    rank = density.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    denser = rank.unsqueeze(-2) < rank.unsqueeze(-1)
    height = density * torch.where(denser, distance, farthest).amin(-1)
    return height if members is None else height.masked_fill(~members, -1)


def cluster_states(states: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Cluster states around as many density peaks, with as many neighbours.

    Args:
        states: [m, C] states to cluster.
        count: How many clusters to make.

    Returns:
        Indices of the centres [count], ascending, and the cluster of every state [m].
    """
    distance = measure_distances(states)
    centres = _find_peaks(distance, count, count)
    return centres, _find_homes(distance, centres)


def _find_peaks(distance: Tensor, count: int, neighbours: int) -> Tensor:
    """Indices of the peaks [count], ascending, by the distances [m, m] of states."""
    return _rate(distance, neighbours).argsort(descending=True, stable=True)[:count].sort().values


def _find_homes(distance: Tensor, peaks: Tensor) -> Tensor:
    """[m] the nearest peak of every state, by their distances [m, m]."""
    home = distance.index_select(1, peaks).argmin(1) if len(peaks) else peaks.new_zeros(len(distance))
    return home.scatter(0, peaks, torch.arange(len(peaks), device=home.device))


def measure_distances(states: Tensor) -> Tensor:
    """[..., m, m] Euclidean distances of states [..., m, C], over sqrt(C)."""
    states = states.float()
    scaled = states / states.shape[-1] ** 0.5
    distances: Tensor = torch.cdist(scaled, scaled, compute_mode="donot_use_mm_for_euclid_dist")
    return distances


def keep_and_recycle(states: Tensor, score: Tensor, total: int, keep: Keep = None) -> Selection:
    """Keep the best tokens as they are, and the best of the rest as cluster means where the clusters' centres stood.

    Args:
        states: [n, C] hidden states of the candidates.
        score: [n] scores of the candidates.
        total: How many tokens and clusters to keep together.
        keep: What the stage's schedule says, where it may know both numbers.
    """
    if isinstance(keep, Recycled) and keep == total:
        kept, count = keep.kept, total - keep.kept
    else:
        kept, count = split(total, len(states))
    ranked = score.argsort(descending=True, stable=True)
    best = ranked[:kept].sort().values
    if not count:
        return Selection(best)
    pool = ranked[kept : kept + max(count, int(RECYCLED * (len(ranked) - kept)) + 1)].sort().values
    recycled = states.index_select(0, pool).float()
    centres, home = cluster_states(recycled, count)
    means, _ = average_by_home(recycled, home, count)
    order = torch.cat([best, pool.index_select(0, centres)]).sort()
    return Selection(
        order.values, torch.cat([states.index_select(0, best).float(), means]).index_select(0, order.indices)
    )
