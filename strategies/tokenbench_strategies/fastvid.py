"""FastVID: a clip is cut into segments, whose frames keep salient tokens and merge the others into a few."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from tokenbench import Budget, Keep, Selection, Signal, Stage, Strategy, View
from tokenbench_strategies.density import find_peaks
from tokenbench_strategies.frames import clips, thin

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

    cuts: int = Field(8, ge=1, description="c, the least number of segments")
    tau: float = Field(0.9, description="similarity of neighbouring frames below which a clip is cut")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage before the decoder, which keeps at most the budget."""
        return [(0, budget.keep)]

    merges = True

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the projected tokens and for the attention that they receive in the encoder."""
        return Stage(layer, keep, hidden=(layer,), lattice=True, signals=(_ATTENTION,), at_most=True)

    def select(self, view: View) -> Selection:
        """Keep salient tokens, and context tokens with the others merged into them, clip by clip."""
        states, attention = view.hidden[view.stage.layer].float(), view.signals[_ATTENTION]
        keep, values = [], []
        for at, k in clips(view):
            clip = states[at]
            segments = cut_segments(clip.mean(1), self.cuts, self.tau)
            kept, merged = prune_clip(clip, attention[at], segments, max(1, k // len(at)))
            chosen = thin(torch.arange(len(kept), device=at.device), k)
            keep.append(at.flatten()[kept[chosen]])
            values.append(merged[chosen])
        return Selection(torch.cat(keep), torch.cat(values))


def cut_segments(frames: Tensor, cuts: int, tau: float) -> list[int]:
    """Lengths of the segments of frames [T, C]."""
    unit = normalize(frames, dim=-1)
    alike = (unit[1:] * unit[:-1]).sum(-1)
    cut = alike < tau
    cut[alike.argsort(stable=True)[: cuts - 1]] = True
    ends = [*((cut.nonzero().flatten() + 1).tolist()), len(frames)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def prune_clip(clip: Tensor, attention: Tensor, segments: Sequence[int], q: int) -> tuple[Tensor, Tensor]:
    """Kept tokens of a clip [T, P, C], ascending indices of the flattened clip, and their values.

    Args:
        clip: [T, P, C] projected tokens.
        attention: [T, P] what makes a token salient.
        segments: Lengths of the segments, in frames.
        q: Tokens to keep in a frame, on average.
    """
    context = int(_CONTEXT * q)
    ranked = attention.argsort(dim=1, descending=True, stable=True)
    salient = torch.zeros_like(attention, dtype=torch.bool).scatter(1, ranked[:, : q - context], True)
    values, kept, start = clip.clone(), salient.clone(), 0
    for length in segments:
        frames = range(start, start + length)
        anchors = [t for t in frames if (start + length - 1 - t) % _EVERY == 0]
        each = context * length // len(anchors)
        others = (~salient[start : start + length]).nonzero() + torch.tensor([start, 0], device=clip.device)
        for t in anchors:
            own = (~salient[t]).nonzero().flatten()
            peaks = own[find_peaks(clip[t, own], min(each, len(own)), _NEIGHBOURS)]
            if len(peaks):
                kept[t, peaks] = True
                values[t, peaks] = _merge(clip[t, peaks], clip[others[:, 0], others[:, 1]])
        start += length
    return kept.flatten().nonzero().flatten(), values[kept]


def _merge(peaks: Tensor, tokens: Tensor) -> Tensor:
    """Each peak, with the mean of the tokens that are most similar to it."""
    home = (normalize(tokens, dim=-1) @ normalize(peaks, dim=-1).T).argmax(1)
    count = home.bincount(minlength=len(peaks)).unsqueeze(1)
    mean = torch.zeros_like(peaks).index_add(0, home, tokens) / count.clamp(min=1)
    own = (1 / (count + 1)).clamp(min=_OWN)
    return torch.where(count > 0, own * peaks + (1 - own) * mean, peaks)
