"""How the visual tokens of an architecture lie on the image: one rule for each way that transformers lays them out.

A rule gives the lattices of one row of a batch. Where the prompt does not show the lattice, the tokens have none
(`Grid.without_places`), and strategies that need one are refused; no rule guesses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tokenbench import Grid
from tokenbench.contract.backbone import runs
from tokenbench_backbones.auto.tiles import count_tiles, pooled_side, side_of

__all__ = ["Row", "Rule", "from_positions", "newlines", "none", "separated_rows", "squares"]


@dataclass(frozen=True)
class Row:
    """One row of a batch, on the CPU."""

    ids: Tensor
    """[S] token ids."""
    visual: Tensor
    """[S] mask of the visual tokens."""
    positions: Tensor | None
    """[3, S] time, row and column of every token, where the decoder has such positions (M-RoPE)."""
    embeddings: Tensor | None
    """[S, C] what the decoder is given."""


Rule = Callable[[Any, Row], list[Grid]]
"""From the stock model and a row to its lattices, in the order of the prompt."""


def none(model: Any, row: Row) -> list[Grid]:
    """Every run of visual tokens is an image whose tokens have no places."""
    return [Grid.without_places(count) for _, count in runs(row.ids, row.visual)]


def from_positions(model: Any, row: Row) -> list[Grid]:
    """Every run is an image or a video whose M-RoPE positions spell its lattice."""
    if row.positions is None:
        return none(model, row)
    return [_spelled(row.positions[:, start : start + count]) for start, count in runs(row.ids, row.visual)]


def squares(side: Callable[[Any], int]) -> Rule:
    """Make the rule of encoders whose every image or tile becomes one square.

    Args:
        side: From the stock configuration to the tokens along one side.
    """

    def rule(model: Any, row: Row) -> list[Grid]:
        one = Grid(1, side(model.config), side(model.config))
        grids: list[Grid] = []
        for _, count in runs(row.ids, row.visual):
            whole, rest = divmod(count, one.tokens)
            grids += [Grid.without_places(count)] if rest else [one] * whole
        return grids

    return rule


def separated_rows(model: Any, row: Row) -> list[Grid]:
    """Pixtral: a text token stands between two rows of an image, and another one after its last row.

    An image of a single row looks like any run of tokens, and counts as one without a lattice.
    """
    found = runs(row.ids, row.visual)
    grids: list[Grid] = []
    end = row.ids[found[-1][0] + found[-1][1]] if found and sum(found[-1]) < len(row.ids) else None
    at = 0
    while at < len(found):
        _start, width = found[at]
        height = 1
        while at + height < len(found) and _goes_on(row.ids, found[at + height - 1], found[at + height], end):
            height += 1
        grids.append(Grid(1, height, width) if height > 1 else Grid.without_places(width))
        at += height
    return grids


def newlines(model: Any, row: Row) -> list[Grid]:
    """LLaVA-NeXT and LLaVA-OneVision.

    An image is a square of the whole picture and, if it has tiles, the tiles' rows side by side without their padding,
    each with the learned newline at its end. The newlines are found in what the decoder is given. The frames of a clip
    are squares of pooled patches; LLaVA-OneVision has a newline behind the last.
    """
    grids: list[Grid] = []
    for start, count in runs(row.ids, row.visual):
        if int(row.ids[start]) != model.config.image_token_id:
            grids.append(_clip(model.config, count))
        elif row.embeddings is None:
            grids.append(Grid.without_places(count))
        else:
            given = row.embeddings[start : start + count]
            newline = model.base_model.image_newline.detach().to(given)
            grids += _split_at_newlines((given == newline).all(-1), model.config)
    return grids


def _clip(config: Any, count: int) -> Grid:
    """The lattice of a clip of so many tokens."""
    side, newline = pooled_side(config)
    frames, rest = divmod(count - newline, side**2)
    return Grid.without_places(count) if rest else Grid(frames, side, side, num_suffix_tokens=newline)


def _goes_on(ids: Tensor, above: tuple[int, int], below: tuple[int, int], end: Tensor | None) -> bool:
    """Whether two runs are rows of one image."""
    between = above[0] + above[1]
    return above[1] == below[1] and below[0] == between + 1 and (end is None or bool(ids[between] != end))


def _spelled(places: Tensor) -> Grid:
    """The lattice of the positions [3, n], if they are those of one, row by row and frame by frame."""
    count = places.shape[1]
    rows, columns = (axis - axis.min() for axis in places[1:])
    h, w = int(rows.max()) + 1, int(columns.max()) + 1
    frames, rest = divmod(count, h * w)
    number = torch.arange(count)
    if rest or not (torch.equal(rows, number // w % h) and torch.equal(columns, number % w)):
        return Grid.without_places(count)
    return Grid(frames, h, w)


def _split_at_newlines(newline: Tensor, config: Any) -> list[Grid]:
    """The lattices of the images of one run; newline [n] says which tokens end a row."""
    count, side = len(newline), side_of(config)
    square = side**2
    ends = newline.nonzero().flatten().tolist()
    grids, start = [], 0
    while start < count:
        after = [end for end in ends if end >= start + square]
        if start + square > count or any(start <= end < start + square for end in ends):
            return [Grid.without_places(count)]
        grids.append(Grid(1, side, side))
        start += square
        width = after[0] - start if after else 0
        if after and width == 0:  # an image without tiles has one newline after its square
            grids[-1] = Grid(1, side, side, num_suffix_tokens=1)
            start += 1
            continue
        height = 0
        # The next image's square may follow at once: rows end where a newline is not where it must be.
        while start + (height + 1) * (width + 1) <= count and newline[start + (height + 1) * (width + 1) - 1]:
            height += 1
        if after and _plausible(newline[start : start + height * (width + 1)], width):
            grids.append(Grid(1, height, width, row_end_tokens=1, inputs=count_tiles(config, height, width)))
            start += height * (width + 1)
    return grids


def _plausible(newline: Tensor, width: int) -> bool:
    """Whether the rows [h * (width + 1)] end with a newline each and hold no other."""
    return len(newline) > 0 and int(newline.sum()) * (width + 1) == len(newline)
