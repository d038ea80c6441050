"""How a budget is shared out among tiles and frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tokenbench import View

__all__ = ["crops", "share_out"]


def crops(view: View, mass: Tensor | None = None) -> list[tuple[Tensor, int]]:
    """Candidates of every image, tile or frame, ascending, each with how many of them may stay.

    The view's k is shared out in proportion to the number of candidates, or to the sum of their `mass` [n]. Tiles that make one
    lattice are apart where the stage reads the vision encoder, which shows whose tile a token lies in.
    """
    if any(frame.tiles is not None for frame in view.frames):
        tiles = _split_by_tile(view)
        sizes = list(map(len, tiles))
        shares: Sequence[float] = sizes if mass is None else [float(mass[crop].sum()) for crop in tiles]
        return list(zip(tiles, share_out(view.k, shares, sizes), strict=True))
    counts = [frame.tokens for grid in view.grids for frame in grid.frames]
    if len(counts) == 1:
        counts = [view.n]
    elif view.n < view.n0:
        ends = torch.tensor(counts, device=view.alive.device).cumsum(0)
        bounds = torch.searchsorted(view.alive, ends).tolist()
        counts = [end - start for start, end in zip([0, *bounds], bounds, strict=False)]
    found = torch.split(torch.arange(view.n, device=view.alive.device), counts)
    if len(found) == 1:
        return [(found[0], min(view.k, counts[0]))]
    weights = counts if mass is None else torch.stack([mass[crop].sum() for crop in found]).tolist()
    return list(zip(found, share_out(view.k, weights, counts), strict=True))


def _split_by_tile(view: View) -> list[Tensor]:
    """Candidates of every frame that is one lattice, and of every tile that is a part of one."""
    parts, first = [], 0
    for frame in view.frames:
        tiles = torch.zeros(frame.tokens, dtype=torch.long) if frame.tiles is None else frame.tiles
        parts.append(first + tiles)
        first = int(parts[-1].max()) + 1
    numbers = torch.cat(parts).to(view.alive.device)
    if view.n < view.n0:
        numbers = numbers[view.alive]
    if numbers.ndim > 1:
        raise ValueError("samples that kept tokens of other tiles are looked at one by one")
    return [(numbers == number).nonzero().flatten() for number in range(first)]


def share_out(k: int, weights: Sequence[float], limits: Sequence[int]) -> list[int]:
    """Share out k things among places in proportion to the places' weights, none above its limit.

    The largest remainders are rounded up, the first of equal ones. Places without any weight come last, all alike. If k
    exceeds the sum of the limits, every place is filled.
    """
    counts, left = [0] * len(weights), min(k, sum(limits))
    places = [i for i, limit in enumerate(limits) if limit]
    while left > 0:
        total = sum(weights[i] for i in places)
        shares = {i: left * weights[i] / total if total > 0 else left / len(places) for i in places}
        full = [i for i in places if shares[i] >= limits[i]]
        if not full:
            for i in places:
                counts[i] = int(shares[i])
            missing = left - sum(counts[i] for i in places)
            for i in sorted(places, key=lambda i: counts[i] - shares[i])[:missing]:
                counts[i] += 1
            break
        for i in full:
            counts[i] = limits[i]
        left -= sum(limits[i] for i in full)
        places = [i for i in places if i not in full]
    return counts
