"""The floors, and how budgets are shared out, against plain definitions."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tokenbench
from tests.strategies.views import FakeFrame, make_view, rand
from tests.tiny import BACKBONES, tiny
from tokenbench import Grid, Stage, UsageError
from tokenbench.testing import batched, generate, logits
from tokenbench_strategies.blind import Blind
from tokenbench_strategies.downsample import Downsample, fit_lattice
from tokenbench_strategies.pooling import Pooling, cut_tiles
from tokenbench_strategies.shares import crops, share_out

CPU = torch.device("cpu")
PLACES = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 12)), min_size=1, max_size=6)
GRIDS = st.builds(Grid, st.just(1), st.integers(1, 9), st.integers(1, 9))


def quotas(k: int, weights: Sequence[int], limits: Sequence[int]) -> list[Fraction]:
    """min(limit, level x weight) with the level at which they add up to k; where no weight is left, all are equal."""
    k = min(k, sum(limits))
    heavy = [i for i, weight in enumerate(weights) if weight > 0]
    if k > sum(limits[i] for i in heavy):
        light = [i for i, weight in enumerate(weights) if weight == 0]
        rest = quotas(k - sum(limits[i] for i in heavy), [1] * len(light), [limits[i] for i in light])
        found = [Fraction(limit) for limit in limits]
        for i, quota in zip(light, rest, strict=True):
            found[i] = quota
        return found
    for level in sorted({Fraction(limits[i], weights[i]) for i in heavy}):
        if sum(min(Fraction(limits[i]), level * weights[i]) for i in heavy) >= k:
            full = [i for i in heavy if Fraction(limits[i], weights[i]) < level]
            rest_weight = sum(weights[i] for i in heavy if i not in full)
            level = Fraction(k - sum(limits[i] for i in full), rest_weight)
            return [min(Fraction(limit), level * w) for limit, w in zip(limits, weights, strict=True)]
    return [Fraction(0)] * len(limits)


@given(st.integers(0, 60), PLACES)
def test_shared_out_is_the_method_of_largest_remainders(k: int, places: list[tuple[int, int]]) -> None:
    weights, limits = [weight for weight, _ in places], [limit for _, limit in places]
    exact = quotas(k, weights, limits)
    expected = [int(quota) for quota in exact]
    order = sorted(range(len(places)), key=lambda i: expected[i] - exact[i])  # stable: of equal ones the first
    for i in order[: min(k, sum(limits)) - sum(expected)]:
        expected[i] += 1
    assert share_out(k, weights, limits) == expected


@pytest.mark.parametrize(
    ("k", "weights", "limits", "expected"),
    [
        (7, [6, 3, 1], [9, 9, 9], [4, 2, 1]),  # 4.2, 2.1, 0.7
        (10, [5, 3, 2], [2, 9, 9], [2, 5, 3]),  # the first is full: 8 by 3 to 2 are 4.8 and 3.2
        (2, [1, 1, 1], [5, 5, 5], [1, 1, 0]),
        (5, [0, 0], [9, 9], [3, 2]),
        (0, [1, 2], [9, 9], [0, 0]),
        (-4, [1, 2], [9, 9], [0, 0]),
        (99, [1, 2], [3, 4], [3, 4]),
    ],
)
def test_shared_out_by_hand(k: int, weights: list[int], limits: list[int], expected: list[int]) -> None:
    assert share_out(k, weights, limits) == expected


def test_crops_are_found_again_after_tokens_were_dropped() -> None:
    grids = (Grid(2, 1, 2, num_prefix_tokens=1), Grid(1, 2, 2))
    view = make_view(Stage(0, 5), 10, 5, grids=grids)
    assert [(crop.tolist(), k) for crop, k in crops(view)] == [([0, 1, 2], 2), ([3, 4, 5], 1), ([6, 7, 8, 9], 2)]
    view = make_view(Stage(0, 2), 4, 2, n0=10, alive=torch.tensor([1, 2, 7, 9]), grids=grids)
    assert [(crop.tolist(), k) for crop, k in crops(view)] == [([0, 1], 1), ([], 0), ([2, 3], 1)]
    mass = torch.tensor([0.0, 1.0, 4.0, 5.0])
    assert [k for _, k in crops(view, mass)] == [0, 0, 2]


@given(GRIDS, st.data())
def test_tiles_are_rectangles_that_cover_the_lattice(grid: Grid, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, grid.h * grid.w))
    piece, middle = cut_tiles(grid, count, CPU)
    places: dict[int, list[tuple[int, int]]] = {number: [] for number in range(count)}
    for i, number in enumerate(piece.tolist()):
        places[number].append(divmod(i, grid.w))
    for number, cells in places.items():
        rows, columns = {row for row, _ in cells}, {column for _, column in cells}
        assert len(cells) == len(rows) * len(columns) > 0
        assert max(rows) - min(rows) == len(rows) - 1
        assert max(columns) - min(columns) == len(columns) - 1
        row, column = (min(rows) + max(rows)) // 2, (min(columns) + max(columns)) // 2
        assert int(middle[number]) == row * grid.w + column


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_tiles_are_squares_where_squares_fit(rows: int, columns: int, side: int) -> None:
    piece, _ = cut_tiles(Grid(1, rows * side, columns * side), rows * columns, CPU)
    expected = [(y // side) * columns + x // side for y in range(rows * side) for x in range(columns * side)]
    assert piece.tolist() == expected


def test_seven_tiles_of_a_square() -> None:
    """Three bands of 2, 2 and 3 pieces are squarer than two of 3 and 4."""
    piece, middle = cut_tiles(Grid(1, 6, 6), 7, CPU)
    lattice = piece.unflatten(0, (6, 6))
    assert [len(lattice[y].unique()) for y in (0, 2, 4)] == [2, 2, 3]
    assert middle[0] == 0 * 6 + 1


POOLED = st.lists(st.builds(Grid, st.integers(1, 2), st.integers(1, 4), st.integers(1, 4), st.integers(0, 1)), min_size=1, max_size=3)  # fmt: skip


@given(POOLED, st.data())
def test_pooling_takes_means_of_neighbours(grids: list[Grid], data: st.DataObject) -> None:
    n = sum(grid.tokens for grid in grids)
    patches = sum(grid.t * grid.h * grid.w for grid in grids)
    k = data.draw(st.integers(1, n))
    states = rand(n, n, 3)
    view = make_view(Stage(0, k, hidden=(0,)), n, k, grids=tuple(grids), hidden={0: states})
    selection = Pooling().select(view)
    keep, values = selection.keep.tolist(), selection.values
    assert values is not None
    assert keep == sorted(set(keep))
    assert len(keep) == len(values) == k
    start, at = 0, 0
    for grid in (Grid(1, g.h, g.w, g.num_prefix_tokens) for g in grids for _ in range(g.t)):
        lead, own = (
            states[start : start + grid.num_prefix_tokens],
            states[start + grid.num_prefix_tokens : start + grid.tokens],
        )
        mine = [i - start for i in keep if start <= i < start + grid.tokens]
        leads = [i for i in mine if i < grid.num_prefix_tokens]
        count = len(mine) - len(leads)
        assert not leads or k > patches, "a [CLS] stays only where every patch does"
        torch.testing.assert_close(values[at : at + len(leads)], lead[leads])
        if count:
            piece, middle = cut_tiles(grid, count, CPU)
            expected = {int(middle[j]): own[piece == j].mean(0) for j in range(count)}
            assert sorted(expected) == [i - grid.num_prefix_tokens for i in mine[len(leads) :]]
            pooled = torch.stack([mean for _, mean in sorted(expected.items())])
            torch.testing.assert_close(values[at + len(leads) : at + len(mine)], pooled)
        start, at = start + grid.tokens, at + len(mine)


def test_pooling_by_hand() -> None:
    states = torch.arange(16.0).unsqueeze(1)
    view = make_view(Stage(0, 4, hidden=(0,)), 16, 4, grids=(Grid(1, 4, 4),), hidden={0: states})
    selection = Pooling().select(view)
    assert selection.keep.tolist() == [0, 2, 8, 10]
    assert selection.values is not None
    assert selection.values.flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_pooling_needs_whole_lattices() -> None:
    with pytest.raises(UsageError, match="first stage"):
        Pooling().stage(8, 0.5, 1)


@given(GRIDS, st.integers(1, 90))
def test_fitting_is_the_largest_lattice_of_nearly_the_same_shape(grid: Grid, count: int) -> None:
    def stretch(h: int, w: int) -> Fraction:
        ratio = Fraction(h, w) / Fraction(grid.h, grid.w)
        return max(ratio, 1 / ratio)

    shapes = [(h, w) for h in range(1, grid.h + 1) for w in range(1, grid.w + 1) if h * w <= count]
    alike = [shape for shape in shapes if stretch(*shape) < Fraction(3, 2)] or shapes
    h, w = fit_lattice(grid, count)
    assert (h, w) in alike
    assert h * w == max(a * b for a, b in alike)
    assert stretch(h, w) == min(stretch(a, b) for a, b in alike if a * b == h * w)


@pytest.mark.parametrize(
    ("grid", "count", "shape"),
    [
        (Grid(1, 24, 24), 192, (12, 16)),
        (Grid(1, 24, 24), 64, (8, 8)),
        (Grid(1, 24, 24), 7, (2, 2)),  # 2 x 3 is stretched by 1.5
        (Grid(1, 24, 24), 1, (1, 1)),
        (Grid(1, 24, 24), 999, (24, 24)),
        (Grid(1, 1, 9), 4, (1, 4)),
    ],
)
def test_fitting_by_hand(grid: Grid, count: int, shape: tuple[int, int]) -> None:
    assert fit_lattice(grid, count) == shape


def test_downsample_shows_every_frame_within_its_share() -> None:
    grids = (Grid(2, 4, 4, num_prefix_tokens=1), Grid(1, 2, 2))
    frames = (FakeFrame(17, num_prefix_tokens=1), FakeFrame(17, num_prefix_tokens=1), FakeFrame(4))
    view = make_view(Stage(0, 18, pixels=True, at_most=True), 38, 18, grids=grids, frames=frames)
    selection = Downsample().select(view)
    # Shares of 8, 8 and 2 tokens: [CLS] and 2 x 2 patches (2 x 3 is no square), twice, then 1 x 1.
    corners = [1 + 0, 1 + 2, 1 + 8, 1 + 10]
    assert selection.keep.tolist() == [0, *corners, 17, *(17 + i for i in corners), 34]
    assert selection.values is not None
    assert selection.values.tolist() == [[2, 2, i] for i in range(5)] * 2 + [[1, 1, 0]]


def test_downsample_shows_something_of_a_budget_below_all_frames() -> None:
    frames = (FakeFrame(10, num_prefix_tokens=1), FakeFrame(10, num_prefix_tokens=1))
    view = make_view(Stage(0, 2), 20, 2, grids=(Grid(2, 3, 3, num_prefix_tokens=1),), frames=frames)
    selection = Downsample().select(view)
    assert selection.keep.tolist() == [1 + 4]
    assert selection.values is not None
    assert selection.values.tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("budget", [1, 5, "1/2", 999])
def test_downsample_never_spends_more_than_the_budget(backbone: str, budget: int | str) -> None:
    model, prompts = tiny(backbone)
    with tokenbench.pruned(model, "downsample", budget) as pruning:
        generate(model, batched(prompts), tokens=1)
    for row in pruning.rows:
        nominal = budget if isinstance(budget, int) else row.visual // 2
        assert 1 <= len(row.kept) <= min(nominal, row.visual)
        assert row.tokens_per_layer == [len(row.kept)] * row.depth
        if nominal >= row.visual:
            assert len(row.kept) == row.visual


@pytest.mark.parametrize("backbone", BACKBONES)
def test_blind_answers_without_the_picture(backbone: str) -> None:
    model, prompts = tiny(backbone)
    other = [{name: -value if name.startswith("pixel") else value for name, value in p.items()} for p in prompts]
    answers = []
    for shown in (prompts, other):
        with tokenbench.pruned(model, Blind()) as pruning:
            answers.append(logits(generate(model, batched(shown), tokens=2)))
        assert [row.mean_tokens for row in pruning.rows] == [0] * len(prompts)
    assert torch.equal(*answers)
    assert not torch.equal(*(logits(generate(model, batched(shown), tokens=1)) for shown in (prompts, other)))
