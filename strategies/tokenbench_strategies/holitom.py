"""HoliTom: what stays the same over a window of frames is shown once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize, pad

from tokenbench import Attn, Budget, Keep, Selection, Signal, Stage, Strategy, View
from tokenbench.contract.strategy import top
from tokenbench_strategies.density import mark_peaks
from tokenbench_strategies.frames import LEAST_SHARE, PrunedClip, clips, fit_shares, join_clips, of_clip
from tokenbench_strategies.indices import average_by_home, complement, find_even, find_marked, take

__all__ = ["HoliTom", "average_in_turn", "choose_windows", "fit_quotas", "prune_clip"]

_ATTENTION = Signal("received", -1)
_NEIGHBOURS, _OWN, _LEAST = 7, 0.6, 1e-8


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
    batching: ClassVar[Literal["vmap", "stacked", "loop"]] = "stacked"

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
            best = top(view.attention[request][..., 0, :].mean(-2), max(1, int(view.n * (1 - self.inner))))
            return Selection(best, average_in_turn(view.hidden[view.stage.layer].float(), best))
        states, attention = view.hidden[view.stage.layer].float(), view.signals[_ATTENTION]
        found = [
            (at, prune_clip(of_clip(states, at, -2), of_clip(attention, at, -1), k, self.tau)) for at, k in clips(view)
        ]
        return join_clips(view, states, found)


def average_in_turn(states: Tensor, keep: Tensor) -> Tensor:
    """Kept ones [..., k, C] of states [..., n, C]; each dropped one, in order, is averaged into the kept one of most similar direction."""
    direction, kept = normalize(states, dim=-1), take(states, keep)
    dropped = complement(keep, states.shape[-2])
    homes = (take(direction, dropped) @ take(direction, keep).transpose(-1, -2)).argmax(-1)
    homes, order = homes.sort(dim=-1, stable=True)
    # What joins a home weighs half, and half of that for each one that joins after it.
    place = torch.arange(homes.shape[-1], device=homes.device)
    halvings = place - torch.searchsorted(homes, homes, right=True)
    joins = homes.unsqueeze(-2) == torch.arange(keep.shape[-1], device=homes.device).unsqueeze(-1)
    weights = torch.where(joins, halvings.to(states.dtype).exp2().unsqueeze(-2), 0)
    own = joins.sum(-1, keepdim=True).neg().to(states.dtype).exp2()
    return own * kept + weights @ take(states, dropped.gather(-1, order))


def choose_windows(alike: Tensor) -> tuple[Tensor, Tensor]:
    """The windows that leave out most tokens: of equal ones, the last window is shortest.

    Args:
        alike: [..., T - 1, P] whether a token is like the one before.

    Returns:
        [..., T] the first frame of the window that each frame lies in, and [..., T, P] the places that are static in it.
    """
    frames = alike.shape[-2] + 1
    number = torch.arange(frames, device=alike.device)
    since = pad(torch.where(alike, 0, number[1:, None]), (0, 0, 1, 0)).cummax(-2).values
    # Tokens that a window leaves out, by its last frame and its first one, from the last to the first.
    start = number.flip(0)
    static = (since.unsqueeze(-2) <= start[:, None]).sum(-1)
    gain = static * (number[:, None] - start)
    # What is left out before each first frame.
    best = torch.zeros_like(gain[..., 0])
    for end in range(frames - 1):
        own = slice(frames - 1 - end, None)
        best[..., frames - 2 - end] = (gain[..., end, own] + best[..., own]).amax(-1)
    gain = (gain + best.unsqueeze(-2)).masked_fill(start > number[:, None], -1)
    # From a window's end one past its last frame to that of the window before.
    before = pad(frames - 1 - gain.argmax(-1), (1, 0))
    ends = torch.full_like(before[..., :1], frames)
    while ends.shape[-1] <= frames:
        ends = torch.cat([ends, before.gather(-1, ends)], -1)
        before = before.gather(-1, before)
    first = torch.zeros_like(before).scatter(-1, ends, ends)[..., :frames].cummax(-1).values
    last = first + (first.unsqueeze(-1) == first.unsqueeze(-2)).sum(-1) - 1
    unchanged = take(since, last) <= first.unsqueeze(-1)
    return first, unchanged & (first < last).unsqueeze(-1)


def prune_clip(clip: Tensor, attention: Tensor, k: int, tau: float) -> PrunedClip:
    """At most k tokens of a clip.

    Args:
        clip: [..., T, P, C] projected tokens.
        attention: [..., T, P] what each of them receives.
        k: The budget.
        tau: The similarity above which a token is like the one before.
    """
    frames = clip.shape[-3]
    if frames == 1:  # nothing can be static
        return PrunedClip(_rank(attention) < k)
    unit = normalize(clip, dim=-1, eps=_LEAST)
    first, static = choose_windows((unit[..., 1:, :, :] * unit[..., :-1, :, :]).sum(-1) > tau)
    peaks, best = fit_quotas(first, static, k)
    keep = _rank(attention.masked_fill(static, -torch.inf)) < best.unsqueeze(-1)
    tokens, values, used = _recycle(clip, first, static, peaks)
    keep = keep | torch.zeros_like(keep).flatten(-2).scatter(-1, tokens, used).view_as(keep)
    if k < frames:  # in the order of the sequence
        ordered = torch.stack([keep & static, keep & ~static], -2)
        keep = find_even(ordered.flatten(-3), k).view_as(ordered).any(-2)
    return PrunedClip(keep, tokens, values, late=~static)


def fit_quotas(first: Tensor, static: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """How many static tokens every window shows, [..., T] at its first frame, and how many others every frame, [..., T].

    Together they are at most k; only where this would leave nothing at all, they are the fewest beyond k.

    Args:
        first: [..., T] the first frame of the window that each frame lies in.
        static: [..., T, P] the places that are static in it.
        k: The budget.
    """
    opens = first == torch.arange(first.shape[-1], device=first.device)
    numbers = torch.stack([static & opens.unsqueeze(-1), ~static], -1).sum(-2).double()

    def split(share: Tensor) -> tuple[Tensor, Tensor]:
        shown = numbers.unsqueeze(-1) * share[..., None, None, :]
        return shown[..., 0, :].round(), shown[..., 1, :].ceil()

    def count(share: Tensor) -> Tensor:
        peaks, best = split(share)
        return (peaks + best).sum(-2)

    share = fit_shares(count, k, first.device)
    if k < first.shape[-1]:
        share = share + (count(share) == 0) * LEAST_SHARE
    peaks, best = split(share)
    return peaks.squeeze(-1).long(), best.squeeze(-1).long()


def _recycle(clip: Tensor, first: Tensor, static: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Density peaks of the static tokens of each window, with the tokens nearest to them.

    Args:
        clip: [..., T, P, C] tokens.
        first: [..., T] the first frame of the window that each frame lies in.
        static: [..., T, P] the places that are static in it.
        count: [..., T] how many peaks a window has, at its first frame.

    Returns:
        [..., m] tokens of the flattened clip, [..., m, C] their values, and [..., m] which of them are peaks.
    """
    frames, places = static.shape[-2:]
    has = count > 0
    # The sizes of everything that follows: the one look at what was found.
    sizes = torch.stack([has.sum(-1).amax(), (has * static.sum(-1)).amax(), count.amax()])
    windows, most, peaks = sizes.clamp(min=1).tolist()
    at = find_marked(has, windows)
    count = count.gather(-1, at)
    length = (first.unsqueeze(-2) == at.unsqueeze(-1)).sum(-1, keepdim=True).clamp(min=1)
    member = take(static, at)
    place = find_marked(member, most)
    member = member.gather(-1, place)
    ends = ((at.unsqueeze(-1) + length - 1) * places + place).clamp(max=frames * places - 1)
    states = take(_add_up(clip, first).flatten(-3, -2), ends.flatten(-2)).view(*ends.shape, -1)
    states = states / length.unsqueeze(-1)
    is_peak = mark_peaks(states, count, _NEIGHBOURS, member)
    slot = find_marked(is_peak, peaks)
    used = torch.arange(peaks, device=count.device) < count.unsqueeze(-1)
    own = take(states, slot)
    apart = torch.cdist(states, own, compute_mode="donot_use_mm_for_euclid_dist")
    home = apart.masked_fill(~used.unsqueeze(-2), torch.inf).argmin(-1)
    means, joined = average_by_home(states, home.masked_fill(is_peak | ~member, -1), peaks)
    merged = torch.where(joined > 0, _OWN * own + (1 - _OWN) * means, own).flatten(-3, -2)
    tokens = (at.unsqueeze(-1) * places + place.gather(-1, slot)).flatten(-2)
    used = used.flatten(-2)
    # What fills up the form may be a token that is kept as it is.
    return tokens, torch.where(used.unsqueeze(-1), merged, take(clip.flatten(-3, -2), tokens)), used


def _add_up(clip: Tensor, first: Tensor) -> Tensor:
    """[..., T, P, C] what the frames of a window add up to, from its first frame on.

    Frame by frame: products of matrices would round equal tokens in unlike ways, and tokens that are equal must stay so.
    """
    total, goes_on = clip.clone(), (first[..., 1:] == first[..., :-1]).to(clip.dtype)[..., None, None]
    for t in range(1, first.shape[-1]):
        total[..., t, :, :].addcmul_(total[..., t - 1, :, :], goes_on[..., t - 1, :, :])
    return total


def _rank(score: Tensor) -> Tensor:
    """[..., n] the rank of each score, from 0 for the highest; the first of equal ones comes first."""
    return score.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
