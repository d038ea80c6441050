"""FastVID: a clip is cut into segments, whose frames keep salient tokens and merge the others into a few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize, pad

from tokenbench import Budget, Keep, Selection, Signal, Stage, Strategy, View
from tokenbench_strategies.density import mark_peaks
from tokenbench_strategies.frames import PrunedClip, clips, join_clips, of_clip
from tokenbench_strategies.indices import find_even, find_marked, take

__all__ = ["FastVID", "cut_segments", "prune_clip"]

_ATTENTION = Signal("received", -1)
_CONTEXT, _NEIGHBOURS, _EVERY, _OWN = 0.4, 4, 4, 0.6


class FastVID(Strategy):
    """FastVID (NeurIPS 2025), the code for LLaVA-OneVision, before the decoder.

    The clip is cut between two frames if their similarity is among the c - 1 lowest or below tau (cosine of a vector a
    frame). Each frame has q tokens: q - e salient ones, by attention, and e = int(.4 q) of context: of the other
    tokens, density peaks (4 neighbours) of every 4th frame counted back from a segment's last, which have all e of the
    frames they stand for. To a peak w of its own value and 1 - w of the mean of those tokens of its segment that are
    most similar to it, w = max(1 / (count + 1), .6). Kept tokens keep their positions.

    Deviations: the released code reads SigLIP's pooling head, which no served model has; the vector of a frame is the
    mean of its projected tokens and the attention is what a token receives in the encoder's last layer, as the released
    Qwen2.5 code has the one and nearly the other. That code's treatment of nearly equal frames is left out. q is the
    budget over the number of frames, rounded down, so that a few tokens fewer may stay; with less than one token a
    frame the most salient tokens at equal steps stay. Several clips share the budget in proportion to their tokens.
    Density is computed in float32.
    """

    batching: ClassVar[Literal["vmap", "stacked", "loop"]] = "stacked"
    merges: ClassVar[bool] = True

    cuts: int = Field(8, ge=1, description="c, the least number of segments")
    tau: float = Field(0.9, description="similarity of neighbouring frames below which a clip is cut")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage before the decoder, which keeps at most the budget."""
        return [(0, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the projected tokens and for the attention that they receive in the encoder."""
        return Stage(layer, keep, hidden=(layer,), lattice=True, signals=(_ATTENTION,), at_most=True)

    def select(self, view: View) -> Selection:
        """Keep salient tokens, and context tokens with the others merged into them, clip by clip."""
        states, attention = view.hidden[view.stage.layer].float(), view.signals[_ATTENTION]
        found = []
        for at, k in clips(view):
            clip = of_clip(states, at, -2)
            segments = cut_segments(clip.mean(-2), self.cuts, self.tau)
            pruned = prune_clip(clip, of_clip(attention, at, -1), segments, max(1, k // len(at)))
            if k < len(at):
                kept = find_even(pruned.keep.flatten(-2), k)
                pruned = replace(pruned, keep=kept.view_as(pruned.keep))
            found.append((at, pruned))
        return join_clips(view, states, found)


def cut_segments(frames: Tensor, cuts: int, tau: float) -> Tensor:
    """[..., T] the number of the segment that each of the frames [..., T, C] lies in, from 0 on."""
    unit = normalize(frames, dim=-1)
    alike = (unit[..., 1:, :] * unit[..., :-1, :]).sum(-1)
    rank = alike.argsort(dim=-1, stable=True).argsort(dim=-1)
    return pad((alike < tau) | (rank < cuts - 1), (1, 0)).cumsum(-1)


def prune_clip(clip: Tensor, attention: Tensor, segments: Tensor, q: int) -> PrunedClip:
    """What is left of a clip.

    Args:
        clip: [..., T, P, C] projected tokens.
        attention: [..., T, P] what makes a token salient.
        segments: [..., T] the segment of every frame.
        q: Tokens to keep in a frame, on average.
    """
    context = int(_CONTEXT * q)
    rank = attention.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    salient = rank < q - context
    if not context:
        return PrunedClip(salient)
    places = clip.shape[-2]
    anchors = _find_anchors(segments, context, places - q + context)
    at, used = anchors.at, anchors.used
    own = find_marked(take(~salient, at), places - q + context)
    tokens = (at * places).unsqueeze(-1) + own
    states = take(clip.flatten(-3, -2), tokens.flatten(-2)).view(*tokens.shape, -1)
    slot = find_marked(mark_peaks(states, anchors.peaks, _NEIGHBOURS), used.shape[-1])
    values = _merge(take(states, slot), anchors, clip, ~salient)
    merged = tokens.gather(-1, slot).flatten(-2)
    context_tokens = torch.zeros_like(salient).flatten(-2).scatter(-1, merged, used.flatten(-2))
    return PrunedClip(salient | context_tokens.view_as(salient), merged, values.flatten(-3, -2))


@dataclass(frozen=True)
class _Anchors:
    """The frames of a clip whose peaks stand for its other frames; as many as the sample has that has most of them."""

    at: Tensor
    """[..., A] frames, ascending. Those beyond the number of anchors are other frames, which have no peaks."""
    peaks: Tensor
    """[..., A] how many peaks each has."""
    used: Tensor
    """[..., A, E] which of the places for its peaks are filled."""
    of_frame: Tensor
    """[..., T, J] the anchors of the segment that a frame lies in, by their numbers."""
    exists: Tensor
    """[..., T, J] whether the segment has so many."""


def _find_anchors(segments: Tensor, context: int, limit: int) -> _Anchors:
    """Every 4th frame, counted back from the last of each segment, with their peaks, at most `limit` each."""
    same = segments.unsqueeze(-1) == segments.unsqueeze(-2)
    chosen = same.triu(1).sum(-1) % _EVERY == 0
    length = same.sum(-1)
    each = (length + _EVERY - 1) // _EVERY
    peaks = (context * length // each).clamp(max=limit) * chosen
    total = chosen.sum(-1)
    # The sizes of everything that follows: the one look at what was found.
    most, beside, high = torch.stack([total.amax(), each.amax(), peaks.amax()]).tolist()
    at = find_marked(chosen, most)
    peaks = peaks.gather(-1, at)
    number = torch.arange(max(most, beside, high), device=at.device)
    before = (chosen.unsqueeze(-2) & (segments.unsqueeze(-2) < segments.unsqueeze(-1))).sum(-1, keepdim=True)
    return _Anchors(
        at=at,
        peaks=peaks,
        used=number[:high] < peaks.unsqueeze(-1),
        of_frame=(before + number[:beside]).clamp(max=most - 1),
        exists=number[:beside] < each.unsqueeze(-1),
    )


def _merge(peaks: Tensor, anchors: _Anchors, clip: Tensor, joins: Tensor) -> Tensor:
    """Each peak, with the mean of those tokens of its segment that are most similar to it.

    Args:
        peaks: [..., A, E, C] tokens of the anchors.
        anchors: The anchors.
        clip: [..., T, P, C] tokens.
        joins: [..., T, P] which of them are merged.
    """
    frames, (high, width) = clip.shape[:-2], peaks.shape[-2:]
    number = torch.arange(max(peaks.shape[-3:-1]), device=peaks.device)
    direction, targets = normalize(clip, dim=-1), normalize(peaks, dim=-1).flatten(-2)
    totals, counts = list[Tensor](), list[Tensor]()
    # So many anchors of a frame at a time that their peaks are no more than its tokens.
    some = max(1, clip.shape[-2] // high)
    for own, exists in zip(*(torch.split(part, some, -1) for part in (anchors.of_frame, anchors.exists)), strict=True):
        pairs = own.flatten(-2)  # of frames and anchors
        near = take(targets, pairs).view(*frames, -1, width)
        alike = (direction @ near.transpose(-1, -2)).view(*joins.shape, -1, high)
        used = take(anchors.used, pairs).view(*own.shape, high)
        home = alike.masked_fill(~used.unsqueeze(-3), -torch.inf).argmax(-1)
        home = home.masked_fill(~(joins.unsqueeze(-1) & exists.unsqueeze(-2)), -1)
        joined = (home.unsqueeze(-1) == number[:high]).flatten(-2).transpose(-1, -2).to(clip.dtype)
        goes = (pairs.unsqueeze(-2) == number[: peaks.shape[-3], None]).to(clip.dtype)
        totals.append(goes @ (joined @ clip).view(*pairs.shape, -1))
        counts.append(goes @ joined.sum(-1).view(*pairs.shape, -1))
    count = reduce(torch.add, counts).unsqueeze(-1)
    mean = reduce(torch.add, totals).view_as(peaks) / count.clamp(min=1)
    own_share = (1 / (count + 1)).clamp(min=_OWN)
    return torch.where(count > 0, own_share * peaks + (1 - own_share) * mean, peaks)
