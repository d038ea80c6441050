"""Selections by states, keys and attention, and merges, against slow, plain definitions."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity

from tests.strategies.views import make_view, rand
from tokenbench import Attn, Budget, NoQuestionAttn, OwnLayerAttn, View
from tokenbench.registry.plugins import registry
from tokenbench_strategies.dart import DART, pick_least_duplicated
from tokenbench_strategies.divprune import pick_diverse
from tokenbench_strategies.pdrop import PDrop
from tokenbench_strategies.priortr import PriorTR, PriorTR2F
from tokenbench_strategies.tome import merge_until
from tokenbench_strategies.uniform import Uniform

SIZES = st.tuples(st.integers(1, 20), st.integers(1, 20)).map(lambda pair: (max(pair), min(pair)))


def test_the_released_precision_is_named_where_it_is_declared() -> None:
    declared = {name: registry().get("strategies", name) for name in registry().names("strategies")}
    declared = {name: one for name, one in declared.items() if one.released_dtype}
    assert set(declared) == {"divprune", "scope", "vispruner"}
    assert all(one.released_dtype in one.__doc__ for one in declared.values())


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
    assert pick_diverse(points, k).tolist() == sorted(chosen)


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


@pytest.mark.parametrize(("last", "asked"), [(True, "question"), (False, "question[:-1]")])
def test_priortr_asks_for_the_rows_it_is_told(last: bool, asked: Literal["question", "question[:-1]"]) -> None:
    (stage,) = PriorTR(last=last).stages(32, Budget.parse("192"))
    assert (stage.layer, stage.attention) == (3, (Attn(2, asked), Attn(2, "null")))


def test_the_prior_of_two_forwards_takes_the_place_of_the_null_token() -> None:
    one, two = PriorTR(layer=2, last=False), PriorTR2F(layer=2, last=False)
    (stage,) = two.stages(8, Budget.parse("1/3"))
    assert stage.attention == (Attn(1, "question[:-1]"), NoQuestionAttn(1))
    p, q = torch.rand(2, 3, 4), torch.rand(2, 1, 4)
    first, second = _view(one, 4, 2), _view(two, 4, 2)
    first.attention = {Attn(1, "question[:-1]"): p, Attn(1, "null"): q}
    second.attention = {Attn(1, "question[:-1]"): p, NoQuestionAttn(1): q}
    assert torch.equal(one.score(first), two.score(second))
    assert two.trim


def test_pdrop_scores_by_the_layer_that_comes() -> None:
    stages = PDrop().stages(32, Budget.parse("1/3").of(576))
    assert [stage.attention for stage in stages] == [(OwnLayerAttn(layer),) for layer in (8, 16, 24)]
    rows = rand(0, 4, 1, 9).softmax(-1)
    view = make_view(stages[0], 9, 3, attention={OwnLayerAttn(8): rows})
    mean = [sum(float(rows[head, 0, i]) for head in range(4)) / 4 for i in range(9)]
    expected = sorted(sorted(range(9), key=lambda i: -mean[i])[:3])
    assert PDrop().select(view).keep.tolist() == expected


@given(SIZES, st.integers(1, 6), st.integers(0, 99))
def test_dart_keeps_pivots_and_what_is_least_like_them(size: tuple[int, int], words: int, seed: int) -> None:
    n, k = size
    keys, text_keys = rand(seed, n, 6), rand(seed + 1, words, 6)
    hidden, text = rand(seed + 2, n, 5), rand(seed + 3, words, 5)
    strategy = DART()
    (stage,) = strategy.stages(32, Budget.parse(str(k)))
    assert (stage.layer, stage.hidden, stage.text, stage.keys) == (2, (2,), (2,), (1,))
    view = make_view(
        stage, n, k, keys={1: keys}, text_keys={1: text_keys}, hidden={2: hidden}, text={2: text}, norm=torch.tanh
    )

    def largest(vectors: torch.Tensor) -> list[int]:
        lengths = [sum(abs(float(x)) for x in vector) for vector in vectors]
        return sorted(range(len(lengths)), key=lambda i: -lengths[i])[:4]

    chosen = largest(keys)[:k]
    pivots = [hidden[i].tanh() for i in largest(keys)] + [text[i].tanh() for i in largest(text_keys)]
    missing = k - len(chosen)
    for number, pivot in enumerate(pivots):
        share = missing // len(pivots) + (number < missing % len(pivots))
        rest = [i for i in range(n) if i not in chosen]
        rest.sort(key=lambda i: float(cosine_similarity(hidden[i].tanh().double(), pivot.double(), dim=0)))
        chosen += rest[:share]
    assert strategy.select(view).keep.tolist() == sorted(chosen)


def test_dart_gives_the_first_pivots_what_cannot_be_shared_equally() -> None:
    similarity = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.0], [0.5, 0.5]])
    # The second pivot would take 3, which the first has taken.
    assert pick_least_duplicated(similarity, torch.tensor([4]), 3).tolist() == [0, 3, 4]
    assert pick_least_duplicated(similarity, torch.tensor([4]), 4).tolist() == [0, 2, 3, 4]
    assert pick_least_duplicated(similarity, torch.tensor([4]), 5).tolist() == [0, 1, 2, 3, 4]
    assert pick_least_duplicated(similarity, torch.tensor([4]), 1).tolist() == [4]


def test_equal_scores_are_taken_in_order() -> None:
    similarity = torch.zeros(6, 2)
    assert pick_least_duplicated(similarity, torch.tensor([3]), 3).tolist() == [0, 1, 3]
    view = make_view(PDrop().stage(8, 3, 0), 6, 3, attention={OwnLayerAttn(8): torch.ones(2, 1, 6)})
    assert PDrop().select(view).keep.tolist() == [0, 1, 2]


def _view(strategy: Uniform | PriorTR, n: int, k: int) -> View:
    (stage,) = strategy.stages(8, Budget.parse("1/3"))
    return make_view(stage, n, k)
