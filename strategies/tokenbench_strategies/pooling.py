"""Pooling: a floor that keeps the whole picture, only coarser."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from tokenbench import Budget, Grid, Keep, Selection, Stage, Strategy, UsageError, View
from tokenbench_strategies.shares import share_out

__all__ = ["Pooling", "cut_tiles"]


class Pooling(Strategy):
    """Neighbouring tokens averaged until the budget is left, before the decoder: a floor without any choice.

    Every frame's lattice is cut into bands of rows, and every band into as many pieces as the budget allows, as nearly
    square as may be; a piece becomes its mean, where its middle token stood. Tokens that are no patch (a frame's [CLS],
    newlines) are left out, unless the budget has room for them beside all patches. Frames share the budget in proportion
    to their patches. Positions stay.
    """

    merges: ClassVar[bool] = True

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage before the decoder, which keeps the budget."""
        return [(0, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the projected tokens.

        Raises:
            UsageError: If it is not the first stage of a schedule, since pooling needs whole lattices.
        """
        if index > 0:
            raise UsageError("Pooling needs whole lattices, so it must be the first stage of a schedule")
        return Stage(layer, keep, hidden=(layer,), lattice=True)

    def select(self, view: View) -> Selection:
        """Keep the mean of every piece of every frame, and the tokens beside the patches that the budget has room for."""
        states = view.hidden[view.stage.layer].float()
        lattices = list(view.lattices())
        patches = [grid.h * grid.w for grid, _ in lattices]
        others = share_out(
            view.k - sum(patches),
            [1.0] * len(lattices),
            [grid.tokens - own for (grid, _), own in zip(lattices, patches, strict=True)],
        )
        counts = share_out(view.k, patches, patches)
        keep, values = [], []
        for (grid, at), other, count in zip(lattices, others, counts, strict=True):
            own, (beside, cells) = states[at], _split_frame(grid, states.device)
            keep.append(at.start + beside[:other])
            values.append(own.index_select(0, beside[:other]))
            if count:
                piece, middle, sizes = _cut_once(grid, count, states.device)
                sums = own.new_zeros(count, own.shape[1]).index_add(0, piece, own.index_select(0, cells))
                values.append(sums / sizes)
                keep.append(at.start + cells[middle])
        order = torch.cat(keep).sort()
        return Selection(order.values, torch.cat(values)[order.indices])


@lru_cache(maxsize=64)
def _split_frame(grid: Grid, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where a frame's tokens that are no patch stand, and where its patches do: made once, since a copy waits."""
    cells = [cell for frame in grid.patches() for row in frame for cell in row]
    beside = sorted(set(range(grid.tokens)) - set(cells))
    return torch.tensor(beside, dtype=torch.long, device=device), torch.tensor(cells, device=device)


@lru_cache(maxsize=64)
def _cut_once(grid: Grid, count: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """What `cut_tiles` returns, and the numbers of patches [count, 1]."""
    piece, middle = cut_tiles(grid, count, torch.device("cpu"))
    sizes = piece.bincount(minlength=count).unsqueeze(1)
    return piece.to(device), middle.to(device), sizes.to(device)


def cut_tiles(grid: Grid, count: int, device: torch.device, bands: int = 0) -> tuple[Tensor, Tensor]:
    """Cut the h x w patches of one frame into pieces of neighbouring patches.

    Args:
        grid: The frame's lattice.
        count: How many pieces to make.
        device: Where the tensors are made.
        bands: Into how many bands of rows the frame is cut first; by default, as many as make the pieces squarest.

    Returns:
        The piece of every patch [h * w], and the middle patch of every piece [count].
    """
    bands = bands or _choose_bands(grid, count)
    rows, columns, numbers = (torch.arange(n, device=device) for n in (grid.h, grid.w, count))
    first = torch.arange(bands + 1, device=device) * count // bands  # piece of every band
    pieces = first.diff()
    band = ((rows + 1) * bands - 1) // grid.h  # of every row
    piece = first[band].unsqueeze(1) + ((columns + 1) * pieces[band].unsqueeze(1) - 1) // grid.w
    band = torch.searchsorted(first, numbers, right=True) - 1  # of every piece
    place = numbers - first[band]
    top, end = band * grid.h // bands, (band + 1) * grid.h // bands
    left, right = place * grid.w // pieces[band], (place + 1) * grid.w // pieces[band]
    return piece.flatten(), (top + end - 1) // 2 * grid.w + (left + right - 1) // 2


def _choose_bands(grid: Grid, count: int) -> int:
    """Among the numbers of bands that are wide enough for their pieces, the one with the squarest pieces."""
    possible = [b for b in range(1, min(grid.h, count) + 1) if -(-count // b) <= grid.w]
    return min(possible, key=lambda b: abs(b * b * grid.w - count * grid.h))
