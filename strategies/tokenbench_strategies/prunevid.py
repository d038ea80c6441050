"""PruneVid: what stands still in a segment is shown once, what is alike is clustered, and the question chooses midway."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from tokenbench import Attn, Budget, Keep, Selection, Stage, Strategy, View
from tokenbench.contract.strategy import top
from tokenbench_strategies.density import rank_peaks
from tokenbench_strategies.frames import clips, fit_share

__all__ = ["PruneVid", "choose_by_group", "cut_segments", "merge_segment"]

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

    def select(self, view: View) -> Selection:
        """Merge the segments of every clip; later, keep what the question attends to in each set."""
        if view.index > 0:
            (request,) = view.stage.attention
            score = view.attention[request].amax((0, 1))
            return Selection(choose_by_group(score, view.memo["sets"][view.alive], view.k), score=score)
        states = view.hidden[view.stage.layer].float()
        keep, values = list[Tensor](), list[Tensor]()
        sets = torch.zeros(view.n0, dtype=torch.long, device=states.device)
        for at, _ in clips(view):
            start = 0
            for length in cut_segments(states[at].mean(1)):
                frames = at[start : start + length]
                for tokens, merged in merge_segment(states[frames], self.tau, self.ratio):
                    sets[frames.flatten()[tokens]] = len(keep)
                    keep.append(frames.flatten()[tokens])
                    values.append(merged)
                start += length
        view.memo["sets"] = sets
        return Selection(torch.cat(keep), torch.cat(values))


def cut_segments(frames: Tensor) -> list[int]:
    """Lengths of the segments of frames [T, C].

    Of every cluster, the longest stretch makes a segment if it has two frames. Other stretches join the longer of the
    segments beside them, the one before if these are equal.
    """
    _, cluster = rank_peaks(frames, max(1, len(frames) // 4), _NEIGHBOURS)
    runs = [(home, len(list(run))) for home, run in groupby(cluster.tolist())]
    longest: dict[int, int] = {}
    for i, (home, length) in enumerate(runs):
        if length > max(1, runs[longest[home]][1] if home in longest else 1):
            longest[home] = i
    lengths = [length if i in longest.values() else 0 for i, (_, length) in enumerate(runs)]
    stands = [length > 0 for length in lengths]
    if not any(stands):
        return [len(frames)]
    for i, (_, length) in enumerate(runs):
        if not stands[i]:
            beside = [next((j for j in order if stands[j]), None) for order in (range(i, -1, -1), range(i, len(runs)))]
            lengths[max((j for j in beside if j is not None), key=lambda j: lengths[j])] += length
    return [length for length in lengths if length]


def merge_segment(clip: Tensor, tau: float, ratio: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the sets of a segment [w, P, C]: indices of the flattened segment and values, static ones first."""
    unit, length = normalize(clip, dim=-1), len(clip)
    alike = (unit.sum(0).square().sum(-1) - length) / max(1, length * (length - 1))  # mean over pairs of frames
    static = alike > tau if length > 1 else torch.zeros_like(alike, dtype=torch.bool)
    for t, chosen in [(0, static), *((t, ~static) for t in range(length))]:
        places = chosen.nonzero().flatten()
        states = clip[:, places].mean(0) if chosen is static else clip[t, places]
        if len(places) > _FEWEST:
            centres, home = rank_peaks(states, int(ratio * len(places)), _NEIGHBOURS)
            sums = torch.zeros_like(states[centres]).index_add(0, home, states)
            places, states = places[centres], sums / home.bincount(minlength=len(centres)).unsqueeze(1)
        yield t * clip.shape[1] + places, states


def choose_by_group(score: Tensor, group: Tensor, k: int) -> Tensor:
    """At most k indices of scores [n], ascending: the highest of each group [n], the same share of all, rounded down."""
    groups = [(group == own).nonzero().flatten() for own in sorted(set(group.tolist()))]
    share = fit_share(lambda part: sum(int(part * len(own)) for own in groups), k)
    kept = [own[score[own].argsort(descending=True, stable=True)[: int(share * len(own))]] for own in groups]
    return torch.cat(kept).sort().values if any(map(len, kept)) else top(score, k)
