"""Pooling: a floor that keeps the whole picture, only coarser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from tokenbench import Budget, Grid, Keep, Selection, Stage, Strategy, View
from tokenbench_strategies.shares import shared_out

__all__ = ["Pooling", "tiles"]


class Pooling(Strategy):
    """Neighbouring tokens averaged until the budget is left, before the decoder: a floor without any choice.

    Every frame's lattice is cut into bands of rows, and every band into as many pieces as the budget allows, as nearly square
    as may be; a piece becomes its mean, where its middle token stood. A frame's [CLS] is left out. Frames share the budget in
    proportion to their tokens.
    """

    merges: ClassVar[bool] = True

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        return [(0, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        return Stage(layer, keep, hidden=(layer,))

    def select(self, view: View) -> Selection:
        states = view.hidden[view.stage.layer].float()
        lattices = list(view.lattices())
        patches = [grid.h * grid.w for grid, _ in lattices]
        leads = shared_out(view.k - sum(patches), [1.0] * len(lattices), [grid.lead for grid, _ in lattices])
        counts = shared_out(view.k, patches, patches)
        keep, values = [], []
        for (grid, at), lead, count in zip(lattices, leads, counts, strict=True):
            own = states[at]
            keep.append(at.start + torch.arange(lead, device=own.device))
            values.append(own[:lead])
            if count:
                piece, middle = tiles(grid, count)
                piece, patch = piece.to(own.device), own[grid.lead :]
                sums = torch.zeros(count, own.shape[1], device=own.device).index_add(0, piece, patch)
                values.append(sums / piece.bincount(minlength=count).unsqueeze(1))
                keep.append(at.start + grid.lead + middle.to(own.device))
        order = torch.cat(keep).sort()
        return Selection(order.values, torch.cat(values)[order.indices])


def tiles(grid: Grid, count: int, bands: int = 0) -> tuple[Tensor, Tensor]:
    """Cut one frame's h x w patches into `count` pieces: [h * w] whose piece each is, and [count] the piece's middle patch.

    bands: of rows; without a number, as many as make the pieces squarest.
    """
    bands = bands or _bands(grid, count)
    piece = torch.empty(grid.h, grid.w, dtype=torch.long)
    middle = torch.empty(count, dtype=torch.long)
    number = 0
    for i in range(bands):
        top, end = i * grid.h // bands, (i + 1) * grid.h // bands
        pieces = (i + 1) * count // bands - i * count // bands
        for j in range(pieces):
            left, right = j * grid.w // pieces, (j + 1) * grid.w // pieces
            piece[top:end, left:right] = number
            middle[number] = (top + end - 1) // 2 * grid.w + (left + right - 1) // 2
            number += 1
    return piece.flatten(), middle


def _bands(grid: Grid, count: int) -> int:
    """Of the numbers of bands that are wide enough for their pieces, the one with the squarest pieces."""
    possible = [b for b in range(1, min(grid.h, count) + 1) if -(-count // b) <= grid.w]
    return min(possible, key=lambda b: abs(b * b * grid.w - count * grid.h))
