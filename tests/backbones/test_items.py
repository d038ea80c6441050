"""The frames of a video that are lattices of their own are numbered as one item."""

from __future__ import annotations

from tokenbench import Grid
from tokenbench_backbones.qwen_vl import _number_items


def test_consecutive_equal_frames_of_a_video_are_one_item() -> None:
    small, wide = Grid(1, 2, 2), Grid(1, 2, 4)
    numbered = _number_items((small, small, small, wide, wide, small), (False, True, True, True, True, False))
    assert [grid.item for grid in numbered] == [None, 1, 1, 3, 3, None]
    assert [(grid.h, grid.w) for grid in numbered] == [(2, 2)] * 3 + [(2, 4)] * 2 + [(2, 2)]
