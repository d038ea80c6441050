"""FrameFusion's samples merge, prune and rest together as each does alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from tests.strategies.views import make_view, rand
from tokenbench import Attn, Budget, Grid, Selection, Stage, View
from tokenbench_strategies.framefusion import MERGE, PRUNE, REST, FrameFusion, compare_neighbours, find_repeated

FRAMES, PLACES, WIDTH = 6, 8, 16
N = FRAMES * PLACES
GRIDS = (Grid(FRAMES, 2, 4),)


def stages() -> list[Stage]:
    return list(FrameFusion().stages(16, Budget.parse("1/2").of(N)))


def clip(seed: int, changing: int, steady: float = 0.0) -> Tensor:
    """[N, WIDTH] frames that are like the one before, but for some places that change."""
    states = rand(seed, 1, PLACES, WIDTH).repeat(FRAMES, 1, 1) + steady * rand(seed + 1, FRAMES, PLACES, WIDTH)
    states[:, :changing] = rand(seed + 2, FRAMES, changing, WIDTH)
    return states.flatten(0, 1)


def view(states: Tensor, stage: Stage, index: int, k: int, **remembered: Tensor | int) -> View:
    lead = states.shape[:-2]
    shown = {"hidden": {stage.layer: states}, "grids": GRIDS, "index": index, "memo": remembered}
    attention = torch.arange(2 * N).sin().abs().view(2, 1, N).expand(*lead, 2, 1, N)
    return make_view(
        stage, N, k, alive=torch.arange(N).expand(*lead, N), attention={Attn(stage.layer - 1): attention}, **shown
    )


@pytest.mark.parametrize(("surplus", "gone", "then"), [(0.5, [1, 3], REST), (0.76, [1, 2, 3], MERGE), (0.0, [], REST)])
def test_no_more_merge_than_must_go(surplus: float, gone: list[int], then: int) -> None:
    """One place in four frames, turned by 10, 30 and 5 degrees from frame to frame: the most similar go first."""
    angles = torch.tensor([0.0, 10, 40, 45]).deg2rad()
    alike = compare_neighbours(torch.stack([angles.cos(), angles.sin()], 1), torch.zeros(4, dtype=torch.long))
    torch.testing.assert_close(alike[1:], torch.tensor([10.0, 30, 5]).deg2rad().cos())
    found, following = find_repeated(alike, 0.6, torch.tensor([surplus], dtype=torch.float64))
    assert (found.nonzero().flatten().tolist(), following.tolist()) == (gone, [then])


def test_few_that_merge_end_it() -> None:
    alike = torch.full((2, 20), -1.0)
    alike[0, 5], alike[1, 5:7] = 1, 1
    _, following = find_repeated(alike, 0.6, torch.full((2, 1), 0.9, dtype=torch.float64))
    assert following.tolist() == [[PRUNE], [MERGE]]


def test_tokens_at_other_places_are_not_compared() -> None:
    alike = compare_neighbours(torch.ones(2, 4, 3), torch.tensor([[0, 0, 1, 2], [0, 1, 1, 1]]))
    assert alike.isinf().tolist() == [[True, False, True, True], [True, True, False, False]]


def test_runs_become_their_mean_at_the_first_token() -> None:
    """In two samples that merge unlike much."""
    states, stage = torch.stack([clip(0, 2), clip(7, 5)]), stages()[0]
    seen = view(states, stage, 0, N)
    selection = FrameFusion(low=0.99).select(seen)
    assert selection.values is not None
    for b, (changing, count) in enumerate([(2, N // 2), (5, 15)]):
        # The surplus is a half: of 30 that repeat 24 go, and 15 are fewer than that.
        gone = (~selection.keep[b]).nonzero().flatten().tolist()
        assert {i for i in gone if i < PLACES or i % PLACES < changing} == set()
        assert len(gone) == count
        torch.testing.assert_close(selection.values[b, :PLACES], states[b, :PLACES], atol=1e-5, rtol=1e-5)
    assert seen.memo["next"].tolist() == [[REST], [MERGE]]
    assert seen.memo["spent"].tolist() == [[0.5], [33 / 48]]


def test_means_weigh_all_tokens_of_a_run_alike() -> None:
    states, stage = clip(3, 0, steady=0.2), stages()[0]
    selection = FrameFusion(low=0.0).select(view(states, stage, 0, N))
    assert selection.values is not None
    own = states.view(FRAMES, PLACES, WIDTH)
    kept = selection.keep.view(FRAMES, PLACES)
    values = selection.values.view(FRAMES, PLACES, WIDTH)
    for p in range(PLACES):
        starts = [*kept[:, p].nonzero().flatten().tolist(), FRAMES]
        for start, end in pairwise(starts):
            torch.testing.assert_close(values[start, p], own[start:end, p].mean(0))
    assert int(kept.sum()) == N // 2


def test_samples_do_what_each_of_them_has_come_to() -> None:
    """One merges, one prunes, one rests."""
    strategy, stage = FrameFusion(), stages()[1]
    states = torch.stack([clip(b, 2 + b, 0.1) for b in range(3)])
    places = (torch.arange(N) % PLACES).expand(3, N)
    spent = torch.tensor([[1.0], [1.0], [0.4]], dtype=torch.float64)
    doing = torch.tensor([[MERGE], [PRUNE], [REST]])
    seen = view(states, stage, 1, N, places=places, frames=FRAMES, spent=spent, next=doing)
    together, alone = strategy.select(seen), []
    for b in range(3):
        own = view(states[b], stage, 1, N, places=places[b], frames=FRAMES, spent=spent[b], next=doing[b])
        alone.append(strategy.select(own).to_indices())
        row = Selection(together.keep[b], None if together.values is None else together.values[b]).to_indices()
        assert torch.equal(row.keep, alone[b].keep)
        shown = states[b, row.keep] if alone[b].values is None else alone[b].values
        torch.testing.assert_close(row.values, shown)
        assert torch.equal(seen.memo["next"][b], own.memo["next"])
        if b < 2:
            assert torch.equal(seen.memo["spent"][b], own.memo["spent"])
    assert [one.values is None for one in alone] == [False, True, True]
    assert [len(one.keep) for one in alone] == [23, 22, N]


def test_the_last_stage_prunes_what_would_merge() -> None:
    strategy, last = FrameFusion(), stages()[-1]
    states, k = clip(0, 2), 20
    memo = {"places": torch.arange(N) % PLACES, "frames": FRAMES, "spent": torch.tensor([4.0], dtype=torch.float64)}
    seen = view(states, last, 4, k, **memo, next=torch.tensor([MERGE]))
    assert int(strategy.select(seen).keep.sum()) == k - 4  # half of 16 layers, without 4 that had all: a third
    assert seen.memo["next"].tolist() == [REST]


def test_where_nothing_repeats_no_state_is_new() -> None:
    seen = view(torch.stack([clip(0, PLACES), clip(5, PLACES)]), stages()[0], 0, N)
    selection = FrameFusion(low=0.95).select(seen)
    assert bool(selection.keep.all())
    assert selection.values is None
    assert seen.memo["next"].tolist() == [[PRUNE]] * 2
