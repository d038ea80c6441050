"""What a view says of images, videos and their frames."""

from __future__ import annotations

from tests.strategies.views import make_view
from tokenbench import Grid, Stage


def test_a_clip_is_one_lattice_with_frames_or_several_with_one_number() -> None:
    grids = (
        Grid(2, 1, 2, num_prefix_tokens=1),
        Grid(1, 1, 3, item=4),
        Grid(1, 1, 3, item=4),
        Grid(1, 1, 2),
        Grid(1, 1, 2),
    )
    view = make_view(Stage(0, 4), 16, 4, grids=grids)
    assert [[(at.start, at.stop) for at in clip] for clip in view.clips()] == [
        [(0, 3), (3, 6)],
        [(6, 9), (9, 12)],
        [(12, 14)],
        [(14, 16)],
    ]


def test_two_numbers_are_two_clips() -> None:
    view = make_view(Stage(0, 4), 4, 4, grids=tuple(Grid(1, 1, 1, item=i) for i in (0, 0, 2, 2)))
    assert [len(clip) for clip in view.clips()] == [2, 2]
