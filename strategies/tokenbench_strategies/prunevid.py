"""PruneVid: what stands still in a segment is shown once, what is alike is clustered, and the question chooses midway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize, pad

from tokenbench import Attn, Budget, Keep, Selection, Stage, Strategy, View
from tokenbench_strategies.frames import clips
from tokenbench_strategies.indices import average_by_home, sum_by_home, take
from tokenbench_strategies.sets import cluster_sets, rank_in_sets

__all__ = ["MergedClip", "PruneVid", "average_static", "choose_by_set", "cut_segments", "find_segments", "merge_clip"]

_NEIGHBOURS, _FEWEST = 7, 14


class PruneVid(Strategy):
    """PruneVid (ACL 2025), in two stages. The budget is what the second one leaves.

    Before the decoder, frames are clustered by their mean tokens (density peaks with 7 neighbours, a quarter of the
    number of frames), and stretches of one cluster are the segments of a clip. A place whose tokens are alike in a
    segment (mean cosine over all pairs of frames above tau) is static: its tokens become their mean. The static tokens
    of a segment, and those of each frame that are not static, become the means of half as many clusters if there are
    more than 14. Before layer 11 of 32, the highest of the maximum over heads and the question's tokens of layer 10's
    attention stay, the same share of every such set, and the caches of earlier layers are trimmed.

    The released share is .4; here it is the largest that holds the budget, so that a few tokens fewer may stay.
    The order is segment by segment, static tokens first; in a set it is that of the centres by density and distance.
    Positions are renumbered at both stages; the released code keeps them at the second. Several clips are merged apart.
    An image is a clip of one frame, without static tokens.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"
    merges: ClassVar[bool] = True
    trim: ClassVar[bool] = True
    batching: ClassVar[Literal["vmap", "stacked", "loop"]] = "stacked"

    tau: float = Field(0.8, description="mean similarity above which a place is static")
    ratio: float = Field(0.5, gt=0, le=1, description="clusters, as a share of the tokens of a set")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """What the clip decides before the decoder, and at most the budget after about a third of it."""
        return [(0, 1.0), (max(1, round(11 * depth / 32)), budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the projected tokens, and later for the question's attention at the layer before."""
        if index == 0:
            return Stage(layer, keep, hidden=(layer,), lattice=True, at_most=True)
        return Stage(layer, keep, attention=(Attn(layer - 1, "question"),), at_most=True)

    def heeds_padding(self, words: int) -> bool:
        """No token is attended to most by padding, whose attention is 0."""
        return True

    def select(self, view: View) -> Selection:
        """Merge the segments of every clip; later, keep what the question attends to in each set."""
        if view.index > 0:
            (request,) = view.stage.attention
            score = view.attention[request].amax((-3, -2))
            return Selection(choose_by_set(score, view.memo["sets"].gather(-1, view.alive), view.k), score=score)
        states = view.hidden[view.stage.layer].float()
        parts = [(at, merge_clip(states[..., at, :], self.tau, self.ratio)) for at, _ in clips(view)]
        at = torch.cat([at.flatten() for at, _ in parts])

        def join(dim: int, columns: Sequence[Tensor]) -> Tensor:
            """What there is of every candidate, from what there is of the tokens of each clip."""
            joined = torch.cat([column.flatten(dim - 1, dim) for column in columns], dim)
            every = joined.new_zeros(*view.alive.shape, *joined.shape[joined.ndim + dim + 1 :])
            return every.index_copy(dim, at, joined)

        # A frame's numbers begin with that of its first token.
        view.memo["sets"] = join(-1, [2 * at[:, :1] + clip.sets for at, clip in parts])
        order = join(-1, [at[:, :1] + clip.rank for at, clip in parts])
        keep = join(-1, [clip.is_kept for _, clip in parts])
        return Selection(keep, join(-2, [clip.values for _, clip in parts]), order=order)


@dataclass(frozen=True)
class MergedClip:
    """What is left of a clip of T frames of P tokens."""

    is_kept: Tensor
    """[..., T, P] which tokens stand for their clusters."""
    values: Tensor
    """[..., T, P, C] what they show."""
    rank: Tensor
    """[..., T, P] the order of those that are left, frame by frame."""
    sets: Tensor
    """[..., T, P] the set of a token in its frame: 0 is static, 1 is not, -1 is left to another frame."""


def find_segments(frames: Tensor) -> Tensor:
    """[..., T] numbers, from 0, of the segments that frames [..., T, C] lie in. It looks once at all frames."""
    count = frames.shape[-2]
    together = torch.zeros(frames.shape[:-1], dtype=torch.long, device=frames.device)
    if count == 1:
        return together
    # Numbers of clusters are compared, no more: each is that of the frame in its middle.
    homes = cluster_sets(frames, together, max(0.25, 1 / count), _NEIGHBOURS).home
    lengths = map(cut_segments, homes.view(-1, count).tolist())
    numbers = [[i for i, length in enumerate(own) for _ in range(length)] for own in lengths]
    return torch.tensor(numbers, device=frames.device).view_as(homes)


def cut_segments(cluster: Sequence[int]) -> list[int]:
    """Lengths of the segments of a clip whose frames belong to these clusters.

    Of every cluster, the longest stretch makes a segment if it has two frames. Other stretches join the longer of the
    segments beside them, the one before if these are equal.
    """
    runs = [(home, len(list(run))) for home, run in groupby(cluster)]
    longest: dict[int, int] = {}
    for i, (home, length) in enumerate(runs):
        if length > max(1, runs[longest[home]][1] if home in longest else 1):
            longest[home] = i
    lengths = [length if i in longest.values() else 0 for i, (_, length) in enumerate(runs)]
    stands = [length > 0 for length in lengths]
    if not any(stands):
        return [len(cluster)]
    for i, (_, length) in enumerate(runs):
        if not stands[i]:
            beside = [next((j for j in order if stands[j]), None) for order in (range(i, -1, -1), range(i, len(runs)))]
            lengths[max((j for j in beside if j is not None), key=lambda j: lengths[j])] += length
    return [length for length in lengths if length]


def merge_clip(clip: Tensor, tau: float, ratio: float) -> MergedClip:
    """Merge the tokens of a clip [..., T, P, C] that are alike in a segment, and in a set."""
    states, sets = average_static(clip, find_segments(clip.mean(-2)), tau)
    clusters = cluster_sets(states, sets, ratio, _NEIGHBOURS, _FEWEST)
    values, _ = average_by_home(states, clusters.home, clip.shape[-2])
    return MergedClip(clusters.is_peak, values, clusters.rank, sets)


def average_static(clip: Tensor, segments: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """A clip [..., T, P, C] whose static tokens are the means over their segments, shown in the segment's first frame.

    Args:
        clip: The clip.
        segments: [..., T] the segment of every frame.
        tau: The mean similarity above which a place is static.

    Returns:
        The states [..., T, P, C], and the set [..., T, P] of every token in its frame: 0 is static, 1 is not, and -1 is
        shown in another frame.
    """
    frames, places = clip.shape[-3:-1]
    if frames == 1:
        return clip, torch.ones(clip.shape[:-1], dtype=torch.long, device=clip.device)
    most, own = max(1, frames // 4), segments  # every segment is a stretch of another cluster
    means, length = average_by_home(clip.flatten(-2), own, most)
    sums = torch.unflatten(sum_by_home(normalize(clip, dim=-1).flatten(-2), own, most), -1, (places, -1))
    alike = (sums.square().sum(-1) - length) / (length * (length - 1)).clamp(min=1)  # mean over pairs of frames
    static = take((alike > tau) & (length > 1), own)
    shown = static & pad(own.diff(dim=-1), (1, 0), value=1).bool().unsqueeze(-1)
    states = torch.where(shown.unsqueeze(-1), take(means, own).view_as(clip), clip)
    return states, (~static).long() - (static & ~shown).long()


def choose_by_set(score: Tensor, sets: Tensor, k: int) -> Tensor:
    """Mark at most k of the tokens [..., n]: the best of each set, the same share of all sets, rounded down.

    If that share keeps nothing, it is the k best.
    """
    if score.shape[-1] <= k:
        return torch.ones_like(sets, dtype=torch.bool)
    order, place, size = rank_in_sets(score, sets)
    # The least share at which a token is kept, among those that 50 halvings come to, as `fit_shares` counts its tokens.
    wanted = (place + 1).double()
    share = (wanted / size * 2**50).round()
    share = share + (share / 2**50 * size < wanted)
    # Tokens of one share are kept together, or none of them.
    few = share < share.sort(dim=-1).values[..., k : k + 1]
    kept = torch.zeros_like(few).scatter(-1, order, few)
    best = score.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1) < k
    return torch.where(kept.any(-1, keepdim=True), kept, best)
