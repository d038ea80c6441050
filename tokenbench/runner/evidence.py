"""Which visual tokens the answer depends on."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

from tokenbench.contract.lattice import Grid
from tokenbench.contract.suite import Box

__all__ = ["evidence_tokens", "lattice_of_first", "recall"]


def evidence_tokens(boxes: Sequence[Box], grid: Grid) -> set[int]:
    """Ordinals of the tokens of one image or clip whose patch a box touches."""
    frame = grid.num_prefix_tokens + grid.h * grid.w
    return {
        t * frame + grid.num_prefix_tokens + y * grid.w + x
        for box in boxes
        for t in _touched(box.t0, box.t1, grid.t)
        for y in _touched(box.y0, box.y1, grid.h)
        for x in _touched(box.x0, box.x1, grid.w)
    }


def lattice_of_first(grids: Sequence[Grid], video: bool, tiled: bool) -> Grid | None:
    """The lattice of the first image or clip shown; None where it is unknown or cut into tiles.

    A clip may have come as lattices of single frames, which stand in a row.
    """
    if not grids or (tiled and not video and len(grids) > 1):
        return None
    if not video or len(grids) == 1:
        return grids[0]
    return (
        replace(grids[0], t=sum(grid.t for grid in grids))
        if len({(g.h, g.w, g.num_prefix_tokens) for g in grids}) == 1
        else None
    )


def _touched(low: float, high: float, cells: int) -> range:
    """The cells that a span of [0, 1] touches; a hair's breadth beyond an edge is rounding."""
    return range(math.floor(low * cells + 1e-9), math.ceil(high * cells - 1e-9))


def recall(kept: Collection[int], evidence: set[int]) -> float:
    """Share of the evidence that was kept; NaN if there is none."""
    return len(evidence.intersection(kept)) / len(evidence) if evidence else math.nan
