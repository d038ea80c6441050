"""Which tokens the boxes of an answer touch."""

from __future__ import annotations

import math

import pytest

from tokenbench.contract.lattice import Grid
from tokenbench.contract.suite import Box
from tokenbench.runner.evidence import evidence_height, evidence_tokens, lattice_of_first, recall


def test_a_box_touches_every_cell_it_overlaps_and_no_neighbour_it_only_meets() -> None:
    assert evidence_tokens([Box(0.25, 0.5, 0.5, 0.75)], Grid(1, 4, 4)) == {9}
    assert evidence_tokens([Box(0.2, 0.5, 0.51, 0.75)], Grid(1, 4, 4)) == {8, 9, 10}


@pytest.mark.parametrize("cells", [3, 6, 7, 10, 12, 24])
def test_edges_on_cell_borders_do_not_depend_on_rounding(cells: int) -> None:
    for i in range(cells):
        assert evidence_tokens([Box(i / cells, 0, (i + 1) / cells, 1)], Grid(1, 1, cells)) == {i}


def test_a_span_of_time_is_a_range_of_frames_behind_their_cls() -> None:
    corner = Box(0, 0, 0.5, 0.5, t0=0.25, t1=0.75)
    assert evidence_tokens([corner], Grid(4, 2, 2, num_prefix_tokens=1)) == {6, 11}
    assert evidence_tokens([Box(0, 0, 0.5, 0.5)], Grid(4, 2, 2, num_prefix_tokens=1)) == {1, 6, 11, 16}


def test_the_first_lattice_is_the_whole_image_unless_it_is_a_tile() -> None:
    one, other = Grid(1, 4, 4), Grid(1, 2, 3)
    assert lattice_of_first([one, other], video=False, tiled=False) == one
    assert lattice_of_first([one], video=False, tiled=True) == one
    assert lattice_of_first([one, one], video=False, tiled=True) is None
    assert lattice_of_first([one, one], video=True, tiled=True) == Grid(2, 4, 4)
    assert lattice_of_first([one, other], video=True, tiled=False) is None
    assert lattice_of_first([], video=False, tiled=False) is None


def test_recall() -> None:
    assert recall([1, 2, 3], {2, 9}) == 0.5
    assert math.isnan(recall([1], set()))


def test_the_height_of_evidence_is_that_of_the_mean_of_its_boxes() -> None:
    assert evidence_height([Box(0, 0.2, 1, 0.4)]) == pytest.approx(0.3)
    assert evidence_height([Box(0, 0.2, 1, 0.4), Box(0.5, 0.8, 0.6, 1.0)]) == pytest.approx(0.6)
    assert math.isnan(evidence_height([]))
