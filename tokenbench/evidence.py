"""Which visual tokens the answer depends on."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from tokenbench.strategy import Grid
from tokenbench.suite import Box

__all__ = ["evidence_tokens", "recall"]


def evidence_tokens(boxes: Sequence[Box], grid: Grid) -> set[int]:
    """Ordinals of the tokens of one image whose patch a box touches, in every frame."""
    cells: set[int] = set()
    for box in boxes:
        for y in range(math.floor(box.y0 * grid.h), math.ceil(box.y1 * grid.h)):
            cells |= {y * grid.w + x for x in range(math.floor(box.x0 * grid.w), math.ceil(box.x1 * grid.w))}
    frame = grid.lead + grid.h * grid.w
    return {t * frame + grid.lead + cell for t in range(grid.t) for cell in cells}


def recall(kept: Collection[int], evidence: set[int]) -> float:
    """Share of the evidence that was kept; NaN if there is none."""
    return len(evidence.intersection(kept)) / len(evidence) if evidence else math.nan
