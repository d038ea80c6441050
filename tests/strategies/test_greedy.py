"""Methods that take tokens one by one: what a turn launches, and what they take when nothing is left to gain."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmarks.launches import Launches
from tests.strategies.views import rand
from tokenbench_strategies import divprune, vispruner
from tokenbench_strategies.cdpruner import pick_by_determinant
from tokenbench_strategies.coverage import pick_cover
from tokenbench_strategies.mmtok import pick_for_text_and_image
from tokenbench_strategies.scope import pick_by_coverage

STATES, WORDS, WEIGHTS = rand(0, 2, 60, 8), rand(1, 2, 5, 8), rand(2, 2, 60).abs()
RANKED = torch.arange(60).expand(2, -1)


@pytest.mark.parametrize(
    ("pick", "turn", "most"),
    [
        (lambda k: divprune.pick_diverse(STATES, k), 1, 3),
        (lambda k: pick_by_coverage(STATES, WEIGHTS, k), 1, 7),
        (lambda k: pick_for_text_and_image(WORDS, STATES, STATES, k), 1, 6),
        (lambda k: pick_by_determinant(STATES, WEIGHTS, k), 1, 11),
        (lambda k: vispruner.pick_diverse(STATES, RANKED, 60 - k), 8, 6),
    ],
    ids=["divprune", "scope", "mmtok", "cdpruner", "vispruner"],
)
def test_a_turn_launches_few_operators(pick: Callable[[int], Tensor], turn: int, most: int) -> None:
    def count(turns: int) -> int:
        with torch.no_grad(), Launches() as launches:
            pick(turns * turn)
        return launches.operators.total()

    assert count(5) - count(2) == 3 * most


def cover(values: list[list[float]], k: int, weight: list[float] | None) -> list[int]:
    """The greedy cover, step by step."""
    best, chosen = [0.0] * len(values), list[int]()
    for _ in range(k):
        gains = {
            j: sum(max(0.0, row[j] - own) for row, own in zip(values, best, strict=True)) * (weight[j] if weight else 1)
            for j in range(len(values[0]))
            if j not in chosen
        }
        chosen.append(max(gains, key=lambda j: (gains[j], -j)))
        best = [max(row[chosen[-1]], own) for row, own in zip(values, best, strict=True)]
    return chosen


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("weighted", [False, True])
def test_columns_that_gain_nothing_follow_in_order(seed: int, weighted: bool) -> None:
    # Few rows are soon covered, and small numbers often tie.
    values = rand(seed, 2, 3, 9).mul(4).round()
    weight = rand(seed + 1, 2, 9).mul(4).round().clamp(min=0) if weighted else None
    for k in (1, 4, 9):
        chosen = pick_cover(values, k, weight)
        for i in range(2):
            own = None if weight is None else weight[i]
            expected = cover(values[i].tolist(), k, None if own is None else own.tolist())
            assert chosen[i].tolist() == expected
            assert pick_cover(values[i], k, own).tolist() == expected
