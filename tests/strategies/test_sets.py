"""Sets are ranked and clustered all at once as each is by itself."""

from __future__ import annotations

from math import dist, exp, sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies.views import rand
from tokenbench_strategies import sets as module
from tokenbench_strategies.sets import cluster_sets, rank_in_sets


def cluster(points: list[list[float]], count: int, neighbours: int) -> tuple[list[int], list[int]]:
    """Peaks of one set, the highest first, and which of them is each point's."""
    m, width = len(points), sqrt(len(points[0]))
    apart = [[dist(a, b) / width for b in points] for a in points]
    density = [exp(-sum(d * d for d in sorted(row)[:neighbours]) / min(m, neighbours)) for row in apart]
    farthest = max(max(row) for row in apart)
    far = [min([apart[i][j] for i in range(m) if (density[i], -i) > (density[j], -j)] or [farthest]) for j in range(m)]
    peaks = sorted(range(m), key=lambda j: (-density[j] * far[j], j))[:count]
    return peaks, [j if j in peaks else min(peaks, key=lambda p: (apart[j][p], peaks.index(p))) for j in range(m)]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(0, 99))
def test_tokens_are_ranked_in_their_sets(numbers: list[int], seed: int) -> None:
    score, sets = (rand(seed, len(numbers)) * 3).round(), torch.tensor(numbers)
    order, place, size = rank_in_sets(score, sets)
    expected = sorted(range(len(numbers)), key=lambda i: (numbers[i], -float(score[i]), i))
    assert order.tolist() == expected
    assert size.tolist() == [numbers.count(numbers[i]) for i in expected]
    assert place.tolist() == [[numbers[j] for j in expected[:at]].count(numbers[i]) for at, i in enumerate(expected)]


@given(
    st.lists(st.integers(-1, 2), min_size=1, max_size=40),
    st.integers(0, 99),
    st.sampled_from(["free", "repeated", "lattice"]),
)
def test_each_set_is_clustered_by_itself(numbers: list[int], seed: int, kind: str) -> None:
    """Sets of three tokens or fewer stay; those of no set are in no cluster. On a lattice, two peaks may be equally near."""
    states = rand(seed, len(numbers), 4)
    if kind == "repeated":
        states = states[torch.arange(len(numbers)) % 5]
    elif kind == "lattice":
        states = states.round()
    found = cluster_sets(states, torch.tensor(numbers), 0.5, 3, fewest=3)
    order, homes = [], [-1] * len(numbers)
    for own in range(3):
        members = [i for i, number in enumerate(numbers) if number == own]
        if len(members) <= 3:
            peaks, home = list(range(len(members))), list(range(len(members)))
        else:
            peaks, home = cluster(states[members].tolist(), len(members) // 2, 3)
        order += [members[i] for i in peaks]
        for i, peak in zip(members, home, strict=True):
            homes[i] = members[peak]
    kept = found.is_peak.nonzero().flatten().tolist()
    assert sorted(kept, key=lambda i: int(found.rank[i])) == order
    assert found.home.tolist() == homes


def test_of_equally_near_peaks_a_token_goes_to_the_highest() -> None:
    """The third token lies between the first, and the fourth, which is denser."""
    states = torch.tensor([[0.0], [0.25], [2.0], [4.0], [4.0]])
    found = cluster_sets(states, torch.zeros(5, dtype=torch.long), 0.4, 2)
    assert found.is_peak.nonzero().flatten().tolist() == [0, 3]
    assert found.home.tolist() == [0, 0, 3, 3, 3]


def test_rows_and_frames_are_clustered_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    states, sets = rand(0, 3, 2, 30, 4), torch.arange(180).view(3, 2, 30) * 7 % 4 - 1
    together = cluster_sets(states, sets, 0.5, 7, 5)
    monkeypatch.setattr(module, "_MOST", 1800)  # two frames at once
    in_parts = cluster_sets(states, sets, 0.5, 7, 5)
    for b in range(3):
        for t in range(2):
            alone = cluster_sets(states[b, t], sets[b, t], 0.5, 7, 5)
            for found in (together, in_parts):
                assert all(torch.equal(vars(found)[name][b, t], own) for name, own in vars(alone).items())
