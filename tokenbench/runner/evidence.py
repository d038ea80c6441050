"""The evidence of an answer: the visual tokens that it depends on."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

from tokenbench.contract.lattice import Grid
from tokenbench.contract.suite import Box

__all__ = ["evidence_height", "evidence_tokens", "lattice_of_first", "recall"]


def evidence_tokens(boxes: Sequence[Box], grid: Grid) -> set[int]:
    """Return the indices of the tokens of one image or clip whose patches a box touches."""
    tokens = grid.patches()
    return {
        tokens[t][y][x]
        for box in boxes
        for t in _cells_in(box.t0, box.t1, grid.t)
        for y in _cells_in(box.y0, box.y1, grid.h)
        for x in _cells_in(box.x0, box.x1, grid.w)
    }


def evidence_height(boxes: Sequence[Box]) -> float:
    """Return how far down the picture the evidence is: 0 is the upper edge, 1 the lower one; NaN if there is no evidence.

    Of several boxes it is the mean of their centres.
    """
    return sum((box.y0 + box.y1) / 2 for box in boxes) / len(boxes) if boxes else math.nan


def lattice_of_first(grids: Sequence[Grid], video: bool, tiled: bool) -> Grid | None:
    """Return the lattice of the first image or clip; None if it is unknown, or the image is cut into tiles.

    Args:
        grids: The lattices of a row. A clip may have one for each of its frames.
        video: Whether the row begins with a clip.
        tiled: Whether the backbone cuts images into tiles.
    """
    if not all(grid.has_places for grid in grids) or not grids or (tiled and not video and len(grids) > 1):
        return None
    if not video or len(grids) == 1:
        return grids[0]
    return (
        replace(grids[0], t=sum(grid.t for grid in grids)) if len({replace(grid, t=1) for grid in grids}) == 1 else None
    )


def _cells_in(low: float, high: float, cells: int) -> range:
    """Return the cells that a span of [0, 1] touches. Less than 1e-9 of a cell beyond an edge is a rounding error."""
    return range(math.floor(low * cells + 1e-9), math.ceil(high * cells - 1e-9))


def recall(kept: Collection[int], evidence: set[int]) -> float:
    """Return the share of the evidence that was kept; NaN if there is no evidence."""
    return len(evidence.intersection(kept)) / len(evidence) if evidence else math.nan
