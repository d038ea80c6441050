"""Sums and means by index are those of loops."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies.views import rand
from tokenbench_strategies.indices import average_runs


@given(
    st.lists(st.integers(1, 45), min_size=1, max_size=8),
    st.lists(st.integers(1, 45), min_size=1, max_size=8),
    st.integers(0, 99),
)
def test_runs_are_averaged_where_they_start(first: list[int], second: list[int], seed: int) -> None:
    """Two samples: a run ends with its sample, even if the next one's first run would make it longer."""
    n = max(sum(first), sum(second))
    rows = [[*first, *[1] * (n - sum(first))], [*second, *[1] * (n - sum(second))]]
    values, starts = rand(seed, 2, n, 3), torch.zeros(2, n, dtype=torch.bool)
    expected = torch.zeros(2, n, 3)
    for b, lengths in enumerate(rows):
        at = 0
        for length in lengths:
            starts[b, at], expected[b, at] = True, values[b, at : at + length].mean(0)
            at += length
    longest = max(map(max, rows))
    for found in (
        average_runs(values, starts, longest),
        torch.stack([*map(average_runs, values, starts, [longest] * 2)]),
    ):
        torch.testing.assert_close(found[starts], expected[starts])
