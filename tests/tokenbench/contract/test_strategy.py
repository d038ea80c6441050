"""Which candidates the highest scores choose."""

from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from tokenbench.contract.strategy import top

FEW = st.sampled_from([0.0, -0.0, 1.0, -1.0, float("inf"), float("-inf")])  # ties are the rule
SCORES = st.lists(FEW | st.floats(allow_nan=False, width=32), min_size=1, max_size=60)


@given(SCORES, st.data())
def test_the_k_highest_ascending_ties_by_position(scores: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(0, len(scores)))
    chosen = top(torch.tensor(scores, dtype=torch.float64), k).tolist()
    assert chosen == sorted(sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k])


@given(SCORES)
def test_the_choice_of_fewer_is_part_of_the_choice_of_more(scores: list[float]) -> None:
    tensor = torch.tensor(scores)
    sets = [set(top(tensor, k).tolist()) for k in range(len(scores) + 1)]
    assert all(few < more for few, more in pairwise(sets))
