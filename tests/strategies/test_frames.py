"""How clips are taken apart and put together, and their budgets for all rows at once, against what is done one by one."""

from __future__ import annotations

from math import ceil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.strategies.views import fit_share, make_view, rand
from tokenbench import Grid, Stage, View
from tokenbench_strategies.density import find_peaks, mark_peaks
from tokenbench_strategies.frames import PrunedClip, clips, fit_shares, join_clips, of_clip, thin
from tokenbench_strategies.indices import find_even


def view_of(rows: int, k: int, *grids: Grid) -> View:
    n = sum(grid.tokens for grid in grids)
    return make_view(Stage(0, k, lattice=True), n, k, alive=torch.arange(n).expand(rows, n), grids=grids)


@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=6), min_size=1, max_size=4), st.integers(0, 300))
def test_shares_of_rows_are_those_of_each(numbers: list[list[int]], k: int) -> None:
    rows = torch.zeros(len(numbers), 6, dtype=torch.double)
    for row, own in zip(rows, numbers, strict=True):
        row[: len(own)] = torch.tensor(own)
    shares = fit_shares(lambda share: (rows.unsqueeze(-1) * share.unsqueeze(-2)).ceil().sum(-2), k, rows.device)
    expected = [fit_share(lambda part: sum(ceil(m * part) for m in own), k) for own in numbers]  # noqa: B023
    assert shares.expand(len(numbers), 1).squeeze(-1).tolist() == expected


@given(st.integers(0, 40), st.integers(0, 50), st.integers(0, 99))
def test_marks_at_equal_steps_are_the_tokens_that_thinning_leaves(n: int, count: int, seed: int) -> None:
    marks = torch.rand(3, n, generator=torch.Generator().manual_seed(seed)) < 0.6
    expected = [thin(row.nonzero().flatten(), count).tolist() for row in marks]
    assert [row.nonzero().flatten().tolist() for row in find_even(marks, count)] == expected
    numbers = torch.tensor([[count], [0], [n]])
    expected[1:] = [[], marks[2].nonzero().flatten().tolist()]
    assert [row.nonzero().flatten().tolist() for row in find_even(marks, numbers)] == expected


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=5),
    st.booleans(),
    st.integers(0, 99),
)
def test_peaks_of_sets_of_unlike_sizes_are_those_of_each(sizes: list[tuple[int, int]], tied: bool, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    m = 12
    states = torch.randn(len(sizes), m, 3, generator=draw)
    if tied:
        states = states[:, torch.randint(3, (m,), generator=draw)]
    members = torch.zeros(len(sizes), m, dtype=torch.bool)
    for row, (size, _) in zip(members, sizes, strict=True):
        row[torch.randperm(m, generator=draw)[:size]] = True
    counts = [min(pair) for pair in sizes]
    found = mark_peaks(states, torch.tensor(counts), 7, members)
    for row, own, count, peaks in zip(states, members, counts, found, strict=True):
        inside = own.nonzero().flatten()
        assert peaks.nonzero().flatten().tolist() == inside[find_peaks(row[inside], count, 7)].tolist()
    whole = mark_peaks(states, torch.tensor(counts), 7)
    expected = [find_peaks(row, count, 7).tolist() for row, count in zip(states, counts, strict=True)]
    assert [row.nonzero().flatten().tolist() for row in whole] == expected


def test_the_density_of_a_few_states_is_a_mean_over_these() -> None:
    """Of three, at 0, .65 and 3.25, the last is dense enough to be a peak only if their sum is over more than three."""
    states = torch.tensor([[9.0], [0], [0.65], [9], [3.25], [9], [9], [9]])
    members = torch.tensor([0, 1, 1, 0, 1, 0, 0, 0]).bool()
    assert mark_peaks(states, torch.tensor(2), 7, members).nonzero().flatten().tolist() == [1, 2]


def test_clips_are_put_together_where_they_were() -> None:
    """A clip of three frames with a token that no frame has before it, and an image."""
    view = view_of(2, 6, Grid(3, 1, 2, num_prefix_tokens=1), Grid(1, 2, 2))
    states = rand(0, 2, 13, 4)
    (clip, k), (image, rest) = clips(view)
    assert (clip.tolist(), k) == ([[0, 1, 2], [3, 4, 5], [6, 7, 8]], 4)
    assert (image.tolist(), rest) == ([[9, 10, 11, 12]], 2)
    assert torch.equal(of_clip(states, image, -2), states[:, None, 9:])
    keep = torch.tensor([[[1, 1, 1], [0, 0, 0], [0, 1, 0]], [[0, 0, 0], [1, 1, 0], [0, 0, 1]]]).bool()
    late = torch.tensor([[[1, 0, 0]] * 3, [[0, 0, 0], [1, 0, 0], [1, 1, 1]]]).bool()
    merged, values = torch.tensor([[0, 7], [3, 8]]), torch.full((2, 2, 4), 9.0)
    shown = torch.tensor([[[1, 0, 0, 1]], [[0, 1, 0, 0]]]).bool()
    parts = [(clip, PrunedClip(keep, merged, values, late)), (image, PrunedClip(shown))]
    selection = join_clips(view, states, parts)
    assert selection.order is not None
    assert selection.values is not None
    for b, expected in enumerate([[1, 2, 0, 7, 9, 12], [4, 3, 8, 10]]):
        kept = selection.keep[b].nonzero().flatten().tolist()
        assert sorted(kept, key=lambda i: int(selection.order[b, i])) == expected  # type: ignore[index]
        changed = [i for i in kept if not torch.equal(selection.values[b, i], states[b, i])]
        assert changed == [[0, 7], [3, 8]][b]
        assert bool((selection.values[b, changed] == 9).all())
    assert join_clips(view, states, [(image, PrunedClip(shown))]).order is None


@pytest.mark.parametrize("grids", [(Grid(4, 2, 3),), (Grid(1, 2, 2),), tuple(Grid(1, 2, 2, item=0) for _ in range(3))])
def test_a_whole_clip_is_not_copied(grids: tuple[Grid, ...]) -> None:
    view = view_of(2, 3, *grids)
    states = rand(1, 2, view.n, 5)
    ((at, _),) = clips(view)
    own: Tensor = of_clip(states, at, -2)
    assert own.data_ptr() == states.data_ptr()
    assert torch.equal(own.flatten(1, 2), states)
