"""Clips by frame and place, and how methods whose counts follow from the clip are held to a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from tokenbench import Selection, View
from tokenbench_strategies.shares import share_out

__all__ = [
    "LEAST_SHARE",
    "PrunedClip",
    "clips",
    "fit_shares",
    "join_clips",
    "nominal_share",
    "of_clip",
    "thin",
]

LEAST_SHARE = 2.0**-50
"""What shares are multiples of."""


@dataclass(frozen=True)
class PrunedClip:
    """What a method leaves of a clip of T frames of P tokens."""

    keep: Tensor
    """[..., T, P] which tokens it keeps."""
    merged: Tensor | None = None
    """[..., m] tokens of the flattened clip with new values; None for none."""
    values: Tensor | None = None
    """[..., m, C] these values."""
    late: Tensor | None = None
    """[..., T, P] which tokens follow the others of their frame; None if all stay in their order."""


def clips(view: View) -> Iterator[tuple[Tensor, int]]:
    """Candidates [T, P] of every image or video by frame and place, each with its part of the view's k.

    An image is a clip of one frame. A frame's [CLS] that is a visual token counts as one more place; what only some
    frames have is left out.
    """
    device, found = view.alive.device, []
    for frames in view.clips():
        places = torch.arange(min(at.stop - at.start for at in frames), device=device)
        found.append(_count_up([at.start for at in frames], device).unsqueeze(1) + places)
    sizes = [clip.numel() for clip in found]
    yield from zip(found, share_out(view.k, sizes, sizes), strict=True)


def _count_up(numbers: Sequence[int], device: torch.device) -> Tensor:
    """Ascending numbers on a device; at equal steps they are made there, since a copy would have to be waited for."""
    steps = {after - before for before, after in pairwise(numbers)}
    if len(steps) > 1:
        return torch.tensor(numbers, device=device)
    return torch.arange(numbers[0], numbers[-1] + 1, *steps, device=device)


def of_clip(values: Tensor, at: Tensor, dim: int) -> Tensor:
    """The clip's part of what there is of all candidates along a dimension, which becomes two [T, P].

    Args:
        values: [..., n] or [..., n, C].
        at: [T, P] candidates of the clip.
        dim: That of the candidates, -1 or -2.
    """
    if at.numel() < values.shape[dim]:
        values = values.index_select(dim, at.flatten())
    return torch.unflatten(values, dim, at.shape)


def join_clips(view: View, states: Tensor, clips: Sequence[tuple[Tensor, PrunedClip]]) -> Selection:
    """The selection of a view that consists of clips.

    Args:
        view: The view.
        states: [..., n, C] values of the candidates that are not merged.
        clips: Candidates [T, P] of every clip, and what is left of it.
    """
    keep = torch.zeros_like(view.alive, dtype=torch.bool)
    order = None if all(pruned.late is None for _, pruned in clips) else torch.zeros_like(view.alive)
    for at, pruned in clips:
        keep.index_copy_(-1, at.flatten(), pruned.keep.flatten(-2))
        if order is not None:
            # A frame that starts at s has the numbers from 2 s on, first for its tokens in order, then for late ones.
            number = at[:, :1] + at + (0 if pruned.late is None else at.shape[1] * pruned.late)
            order.index_copy_(-1, at.flatten(), number.flatten(-2).expand_as(pruned.keep.flatten(-2)))
    merged = [at.flatten()[pruned.merged] for at, pruned in clips if pruned.merged is not None]
    if merged:
        index = torch.cat(merged, -1).unsqueeze(-1)
        values = torch.cat([pruned.values for _, pruned in clips if pruned.values is not None], -2)
        states = states.scatter(-2, index.expand_as(values), values)
    return Selection(keep, states, order=order)


def nominal_share(view: View) -> float:
    """The budget as a share of the tokens, not rounded to a number of them."""
    keep = view.stage.keep
    return float(keep) if keep is not None and not isinstance(keep, int) else view.k / view.n


def fit_shares(count: Callable[[Tensor], Tensor], k: int, device: torch.device) -> Tensor:
    """The largest shares of 1 at which a method keeps at most k tokens of a sample, as nearly as 50 halvings tell.

    Args:
        count: How many tokens [..., s] the method keeps at shares [s] or [..., s], float64; it grows with the share.
        k: The budget. Where even the least share keeps more, the result is 0.
        device: Where to compute.

    Returns:
        [..., 1] shares.
    """
    # 50 halvings are five choices among 1,024 equal parts. A share of 1 are all of the first ones.
    steps = torch.arange(1, 1025, dtype=torch.float64, device=device)
    low = torch.zeros(1, dtype=torch.float64, device=device)
    for digit in range(1, 6):
        shares = torch.add(low, steps, alpha=1024.0**-digit).clamp(max=1)
        low = torch.add(low, (count(shares) <= k).sum(-1, keepdim=True), alpha=1024.0**-digit)
    return low.clamp(max=1)


def thin(tokens: Tensor, k: int) -> Tensor:
    """At most k of the tokens [m], at equal steps: for budgets that a method itself cannot reach."""
    if len(tokens) <= k:
        return tokens
    return tokens[(2 * torch.arange(k, device=tokens.device) + 1) * len(tokens) // (2 * max(1, k))]
