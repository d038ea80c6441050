"""Clips by frame and place, and how methods whose counts follow from the clip are held to a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from tokenbench import View
from tokenbench_strategies.shares import share_out

__all__ = ["clips", "fit_share", "nominal_share", "thin"]


def clips(view: View) -> Iterator[tuple[Tensor, int]]:
    """Candidates [T, P] of every image or video by frame and place, each with its part of the view's k.

    An image is a clip of one frame. A frame's [CLS] that is a visual token counts as one more place; what only some
    frames have is left out.
    """
    device, found = view.alive.device, []
    for frames in view.clips():
        places = min(at.stop - at.start for at in frames)
        starts = torch.tensor([at.start for at in frames], device=device)
        found.append(starts.unsqueeze(1) + torch.arange(places, device=device))
    sizes = [clip.numel() for clip in found]
    yield from zip(found, share_out(view.k, sizes, sizes), strict=True)


def nominal_share(view: View) -> float:
    """The budget as a share of the tokens, not rounded to a number of them."""
    keep = view.stage.keep
    return float(keep) if keep is not None and not isinstance(keep, int) else view.k / view.n


def fit_share(count: Callable[[float], int], k: int) -> float:
    """The largest share of 1 at which a method keeps at most k tokens, as nearly as 50 halvings tell.

    Args:
        count: How many tokens the method keeps at a share; it grows with the share.
        k: The budget. If even the smallest share keeps more, the result is 0.
    """
    if count(1.0) <= k:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if count(middle) <= k else (low, middle)
    return low


def thin(tokens: Tensor, k: int) -> Tensor:
    """At most k of the tokens [m], at equal steps: for budgets that a method itself cannot reach."""
    if len(tokens) <= k:
        return tokens
    return tokens[(2 * torch.arange(k, device=tokens.device) + 1) * len(tokens) // (2 * max(1, k))]
