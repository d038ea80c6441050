"""Selections and merges against slow, plain definitions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity

from tokenbench import Attn, Budget, Grid, View
from tokenbench_strategies.divprune import most_diverse
from tokenbench_strategies.priortr import PriorTR
from tokenbench_strategies.tome import merge_until
from tokenbench_strategies.uniform import Uniform

SIZES = st.tuples(st.integers(1, 20), st.integers(1, 20)).map(lambda pair: (max(pair), min(pair)))


def states(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(SIZES, st.integers(0, 99))
def test_divprune_is_the_greedy_definition(size: tuple[int, int], seed: int) -> None:
    n, k = size
    points = states(n, seed)

    def distance(i: int, j: int) -> float:
        return 1 - float(cosine_similarity(points[i], points[j], dim=0))

    first = max(range(n), key=lambda i: min((distance(i, j) for j in range(n) if j != i), default=0))
    chosen = [first]
    while len(chosen) < k:
        rest = [i for i in range(n) if i not in chosen]
        chosen.append(max(rest, key=lambda i: min(distance(i, j) for j in chosen)))
    assert most_diverse(points, k).tolist() == sorted(chosen)


@given(SIZES, st.integers(0, 99))
def test_tome_keeps_the_budget_and_the_mass(size: tuple[int, int], seed: int) -> None:
    n, k = size
    points = states(n, seed)
    slots, merged = merge_until(points, k)
    assert len(slots) == len(merged) == k
    assert (slots[1:] > slots[:-1]).all()
    if k == n:
        torch.testing.assert_close(merged, points.float())
    if k == 1:  # everything in one place: the plain mean
        torch.testing.assert_close(merged[0], points.float().mean(0))


def test_tome_merges_the_most_similar_pair_first() -> None:
    points = torch.tensor([[1.0, 0], [0, 1], [1, 0.1], [-1, 0], [0.9, 0.8]])
    slots, merged = merge_until(points, 4)
    # Proposals go from even to odd places: 4 to 1 (0.66) beats 2 to 1 (0.10) and 0 to 1 (0).
    assert slots.tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(merged[1], (points[1] + points[4]) / 2)


@given(SIZES)
def test_uniform_steps_are_equal(size: tuple[int, int]) -> None:
    n, k = size
    view = _view(Uniform(), n, k)
    keep = Uniform().select(view).keep
    assert len(keep) == k
    assert 0 <= int(keep[0]) <= int(keep[-1]) < n
    assert all(n // k <= step <= -(-n // k) for step in (keep[1:] - keep[:-1]).tolist())


def test_priortr_is_pointwise_relative_entropy() -> None:
    strategy = PriorTR(layer=2)
    view = _view(strategy, 4, 2)
    p, q = torch.rand(2, 3, 4), torch.rand(2, 1, 4)
    view.attention = {Attn(1, "question"): p, Attn(1, "null"): q}
    a, b = p.mean((0, 1)), q.mean((0, 1))
    expected = torch.nn.functional.kl_div((b / b.sum()).log(), a / a.sum(), reduction="none")
    torch.testing.assert_close(strategy.score(view), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("rows", "asked"), [("question", "question"), ("question[:-1]", "question[:-1]")])
def test_priortr_asks_for_the_rows_it_is_told(rows: str, asked: str) -> None:
    (stage,) = PriorTR(rows=rows).stages(32, Budget.parse("192"))
    assert (stage.layer, stage.attention) == (3, (Attn(2, asked), Attn(2, "null")))


def _view(strategy: Uniform | PriorTR, n: int, k: int) -> View:
    (stage,) = strategy.stages(8, Budget.parse("1/3"))
    return View(
        n0=n,
        alive=torch.arange(n),
        grids=(Grid(1, 1, n),),
        stage=stage,
        index=0,
        k=k,
        hidden={},
        text={},
        attention={},
        generator=torch.Generator(),
    )
