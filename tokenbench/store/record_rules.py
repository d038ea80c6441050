"""What holds of the values in every cell's records: a file in which it does not is damaged, or was made to mislead."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["RULES"]

MOST_TOKENS = 2**20
LATTICE = 4
"""The numbers of a lattice: frames, height, width, leading tokens."""


def _are_scores(score: pa.ChunkedArray) -> bool:
    return _all(_is_between(score, 0, 1))


def _are_counts(visual: pa.ChunkedArray) -> bool:
    return _all(_is_between(visual.drop_null(), 0, MOST_TOKENS))


def _are_kept(kept: pa.ChunkedArray, visual: pa.ChunkedArray) -> bool:
    """Return whether every kept token is one of its sample's visual tokens."""
    ordinals = pc.list_flatten(kept)
    ends = pc.min_max(ordinals)
    if not len(ordinals):
        return True
    if ends["min"].as_py() is None or ordinals.null_count or ends["min"].as_py() < 0:
        return False
    if not visual.null_count and ends["max"].as_py() < pc.min(visual).as_py():
        return True  # the usual case, in which single samples need not be checked
    return _all(pc.less(ordinals, pc.take(visual, pc.list_parent_indices(kept))))


def _are_layers(leaves: pa.ChunkedArray, visual: pa.ChunkedArray) -> bool:
    """Return whether there is a layer, or -1, for each of a sample's visual tokens."""
    there = pc.is_valid(leaves)
    lengths = pc.list_value_length(leaves).filter(there)
    return _all(pc.equal(lengths, visual.filter(there))) and _all(pc.greater_equal(pc.list_flatten(leaves), -1))


def _are_lattices(column: pa.ChunkedArray) -> bool:
    column = column.drop_null()
    if not _all(pc.equal(pc.list_value_length(column), LATTICE)):
        return False
    frames, height, width, lead = (pc.cast(pc.list_element(column, i), pa.float64()) for i in range(LATTICE))
    tokens = pc.multiply(frames, pc.add(lead, pc.multiply(height, width)))
    sizes = [_is_between(number, 1, MOST_TOKENS) for number in (frames, height, width, tokens)]
    return all(map(_all, [*sizes, _is_between(lead, 0, MOST_TOKENS)]))


def _is_between(values: pa.ChunkedArray, low: int, high: int) -> pa.ChunkedArray:
    return pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high))


def _all(values: pa.ChunkedArray) -> bool:
    """Return whether all values are true. A missing value counts as false; without values, the result is true."""
    return bool(pc.all(pc.fill_null(values, False)).as_py() in (True, None))


RULES: dict[str, tuple[tuple[str, ...], Callable[..., bool]]] = {
    "a score is not from 0 to 1": (("score",), _are_scores),
    "a number of visual tokens is beyond all models": (("visual_tokens",), _are_counts),
    "a kept token is not among the visual tokens": (("kept", "visual_tokens"), _are_kept),
    "a layer at which a visual token leaves is impossible": (("leaves", "visual_tokens"), _are_layers),
    "a lattice is none": (("lattice",), _are_lattices),
}
"""The error to report if a rule does not hold: the columns that the rule concerns, and the rule."""
