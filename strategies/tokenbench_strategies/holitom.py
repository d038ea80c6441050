"""HoliTom: what stays the same over a window of frames is shown once."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from tokenbench import Attn, Budget, Keep, Selection, Signal, Stage, Strategy, View
from tokenbench.contract.strategy import top
from tokenbench_strategies.density import find_peaks
from tokenbench_strategies.frames import clips, fit_share, thin

__all__ = ["HoliTom", "average_in_turn", "choose_windows", "prune_clip"]

_ATTENTION = Signal("received", -1)
_NEIGHBOURS, _OWN = 7, 0.6


class HoliTom(Strategy):
    """HoliTom (NeurIPS 2025), before the decoder and, with inner=.5 as released, once more inside of it.

    A place is static in a window of frames if each of its tokens is like the one before (cosine of projected tokens
    above tau). The clip is cut into the windows that leave out most tokens. Static tokens become their mean over the
    window; of m of them, m r' density peaks (7 neighbours) stay, each .6 itself and .4 the mean of the tokens nearest
    to it. Of the m other tokens of a frame the ceil(m r') that receive most attention in the encoder's last layer stay
    as they are. The order is window by window, static tokens first; positions are renumbered.

    The released r' follows from the share and from what the windows leave out, and the count only roughly from it; here
    r' is the largest that holds the budget, so that a few tokens fewer may stay, and nothing changes where the budget
    is the released count. The released parameter D, which stops the code for any value but 0, is left out. With
    inner, that share of the tokens is dropped before layer 18 of 28, by the attention of the last prompt token at the
    layer before; each dropped token, one after another, is averaged into the kept one of most similar hidden state, so
    that later ones weigh more. Positions are renumbered there, too; the released code keeps them. With less than one
    token a frame, tokens at equal steps stay. Several clips share the budget in proportion to their tokens.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"
    merges: ClassVar[bool] = True

    tau: float = Field(0.8, description="similarity above which a token is like the one before")

    inner: float = Field(0.0, ge=0, lt=1, description="share that is dropped again inside the decoder")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """A stage before the decoder, which keeps at most the budget, and perhaps one inside, which keeps less."""
        inner = [(max(1, round(18 * depth / 28)), budget.scaled(str(1 - self.inner)))] if self.inner else []
        return [(0, budget.keep), *inner]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for projected tokens and the attention they receive in the encoder; later, for the last token's attention."""
        if index > 0:
            return Stage(layer, keep, hidden=(layer,), attention=(Attn(layer - 1),), at_most=True)
        return Stage(layer, keep, hidden=(layer,), lattice=True, signals=(_ATTENTION,), at_most=True)

    def select(self, view: View) -> Selection:
        """Keep what the windows leave of every clip; later, what the last token attends to."""
        if view.index > 0:
            (request,) = view.stage.attention
            best = top(view.attention[request][:, 0].mean(0), max(1, int(view.n * (1 - self.inner))))
            return Selection(best, average_in_turn(view.hidden[view.stage.layer].float(), best))
        states, attention = view.hidden[view.stage.layer].float(), view.signals[_ATTENTION]
        keep, values = [], []
        for at, k in clips(view):
            kept, merged = prune_clip(states[at], attention[at], k, self.tau)
            keep.append(at.flatten()[kept])
            values.append(merged)
        return Selection(torch.cat(keep), torch.cat(values))


def average_in_turn(states: Tensor, keep: Tensor) -> Tensor:
    """States [k, C] of those kept; each dropped one, in order, is averaged into the kept one of most similar direction."""
    dropped = torch.ones(len(states), dtype=torch.bool, device=states.device).index_fill(0, keep, False)
    direction, values = normalize(states, dim=-1), states[keep]
    homes = (direction[dropped] @ direction[keep].T).argmax(1)
    for home, state in zip(homes.tolist(), states[dropped], strict=True):
        values[home] = (values[home] + state) / 2
    return values


def choose_windows(alike: Tensor) -> tuple[list[tuple[int, int]], int]:
    """The windows (first frame, one past the last) that leave out most tokens, and how many these are.

    Args:
        alike: [T - 1, P] whether a token is like the one before.
    """
    frames, steps = len(alike) + 1, alike.tolist()
    static = [[0] * (frames + 1) for _ in range(frames)]
    for start in range(frames):
        same = [True] * alike.shape[1]
        for end in range(start + 2, frames + 1):
            same = [a and b for a, b in zip(same, steps[end - 2], strict=True)]
            static[start][end] = sum(same)
    best, first = [0] * (frames + 1), [0] * (frames + 1)
    for end in range(1, frames + 1):
        best[end], first[end] = best[end - 1], end - 1
        for start in range(end - 2, -1, -1):
            gain = best[start] + static[start][end] * (end - start - 1)
            if gain > best[end]:
                best[end], first[end] = gain, start
    windows, end = list[tuple[int, int]](), frames
    while end > 0:
        windows.insert(0, (first[end], end))
        end = first[end]
    return windows, best[frames]


def prune_clip(clip: Tensor, attention: Tensor, k: int, tau: float) -> tuple[Tensor, Tensor]:
    """At most k tokens of a clip [T, P, C], indices of the flattened clip in the order of the sequence, and values."""
    alike = cosine_similarity(clip[1:], clip[:-1], dim=-1) > tau
    windows, _ = choose_windows(alike)
    still = [
        alike[a : b - 1].all(0) if b - a > 1 else torch.zeros_like(attention[0], dtype=torch.bool) for a, b in windows
    ]
    counts = [(int(same.sum()), b - a, int((~same).sum())) for same, (a, b) in zip(still, windows, strict=True)]

    def count(share: float) -> int:
        return sum(round(m * share) + length * ceil(d * share) for m, length, d in counts)

    share, places = fit_share(count, k), clip.shape[1]
    keep, values = [], []
    for (a, b), same in zip(windows, still, strict=True):
        static = same.nonzero().flatten()
        peaks, merged = _recycle(clip[a:b, static].mean(0), round(len(static) * share))
        keep.append(a * places + static[peaks])
        values.append(merged)
        for t in range(a, b):
            own = (~same).nonzero().flatten()
            best = attention[t, own].argsort(descending=True, stable=True)[: ceil(len(own) * share)]
            chosen = own[best.sort().values]
            keep.append(t * places + chosen)
            values.append(clip[t, chosen])
    kept = torch.cat(keep)
    left = thin(torch.arange(len(kept), device=kept.device), k)
    return kept[left], torch.cat(values)[left]


def _recycle(states: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Density peaks of states [m, C], ascending, with the states nearest to them."""
    if count == 0:
        return torch.arange(0, device=states.device), states[:0]
    peaks = find_peaks(states, count, _NEIGHBOURS)
    apart = torch.cdist(states, states[peaks], compute_mode="donot_use_mm_for_euclid_dist")
    other = torch.ones(len(states), dtype=torch.bool, device=states.device).index_fill(0, peaks, False)
    home = apart[other].argmin(1)
    joined = home.bincount(minlength=count).unsqueeze(1)
    means = torch.zeros_like(states[peaks]).index_add(0, home, states[other]) / joined.clamp(min=1)
    return peaks, torch.where(joined > 0, _OWN * states[peaks] + (1 - _OWN) * means, states[peaks])
