"""PruneVid merges every segment and chooses from every set, for several clips at once as for each."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import tokenbench
from tests.strategies.views import fit_share, make_view, rand
from tests.tiny import tiny
from tokenbench import Attn, Grid, Selection, View
from tokenbench.testing import batched, generate
from tokenbench_strategies.prunevid import PruneVid, average_static, choose_by_set, cut_segments, find_segments


@pytest.mark.parametrize(
    ("clusters", "lengths"),
    [
        ([0, 0, 1, 1, 1], [2, 3]),
        ([0, 1, 2, 3], [4]),  # no stretch has two frames
        ([0, 0, 2, 1, 1], [3, 2]),  # joins the one before, as both are equal
        ([0, 0, 2, 1, 1, 1], [2, 4]),  # joins the longer one
        ([2, 0, 0, 1, 1], [3, 2]),  # nothing is before it
        ([0, 0, 1, 1, 0, 0, 0], [4, 3]),  # only the longest stretch of a cluster stands
        ([0, 0, 1, 1, 0, 0], [2, 4]),  # the first of equal ones
        ([0, 0, 3, 1, 1, 4, 2, 2, 2], [3, 2, 4]),
        ([5, 0, 0, 0, 6, 1, 1, 1, 1, 7, 8, 2, 2], [5, 6, 2]),
    ],
)
def test_stretches_of_clusters_become_segments(clusters: list[int], lengths: list[int]) -> None:
    """Lengths grow as stretches join, so that an earlier one may decide where a later one goes."""
    assert cut_segments(clusters) == lengths


def test_static_tokens_are_averaged_and_shown_once() -> None:
    """The second of 4 places changes from frame to frame, the third in the second of two segments."""
    clip = rand(0, 1, 4, 8).repeat(8, 1, 1) + 0.05 * rand(1, 8, 4, 8)
    clip[:, 1], clip[5:, 2] = 3 * rand(2, 8, 8), 3 * rand(3, 3, 8)
    segments = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1])
    states, sets = average_static(clip, segments, 0.8)
    later = [[-1, 1, -1, -1]] * 4, [[-1, 1, 1, -1]] * 2
    assert sets.tolist() == [[0, 1, 0, 0], *later[0], [0, 1, 1, 0], *later[1]]
    expected = clip.clone()
    expected[0, [0, 2, 3]], expected[5, [0, 3]] = clip[:5, [0, 2, 3]].mean(0), clip[5:, [0, 3]].mean(0)
    torch.testing.assert_close(states, expected)
    other = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])
    stacked = average_static(torch.stack([clip.flip(0), clip]), torch.stack([other, segments]), 0.8)
    torch.testing.assert_close(stacked[0][1], states)
    assert torch.equal(stacked[1][1], sets)


def test_a_place_is_static_by_its_mean_similarity_over_pairs_of_frames() -> None:
    """At 0, 30 and 60 degrees the cosines of the pairs are .866, .866 and .5, on average .744."""
    angles = torch.tensor([0.0, 30, 60]).deg2rad()
    clip = torch.stack([angles.cos(), angles.sin()], 1).unsqueeze(1)
    for tau, first in ((0.743, 0), (0.745, 1)):
        _, sets = average_static(clip, torch.zeros(3, dtype=torch.long), tau)
        assert sets[0].tolist() == [first]


def test_places_that_show_the_same_do_so_after_they_are_averaged() -> None:
    """Else rounding would decide which of them comes first."""
    for places in (15, 30, 49):
        clip = rand(places, 8, 1, 16).repeat(1, places, 1)
        states, _ = average_static(clip, torch.zeros(8, dtype=torch.long), -1.0)
        assert len(states[0].unique(dim=0)) == 1


def test_an_image_and_a_clip_without_cuts_are_one_segment() -> None:
    assert find_segments(rand(0, 1, 4)).tolist() == [0]
    assert find_segments(torch.ones(3, 4)).tolist() == [0, 0, 0]


def choose(score: Tensor, sets: Tensor, k: int) -> list[int]:
    """Set by set, with the share that 50 halvings find."""
    members = [(sets == own).nonzero().flatten() for own in sets.unique()]
    share = fit_share(lambda part: sum(int(part * len(own)) for own in members), k)
    best = [own[score[own].argsort(descending=True, stable=True)[: int(share * len(own))]] for own in members]
    if not any(map(len, best)):
        best = [score.argsort(descending=True, stable=True)[:k]]
    return sorted(torch.cat(best).tolist())


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.data())
def test_the_best_of_every_set_stay(sizes: list[int], data: st.DataObject) -> None:
    n = sum(sizes)
    k, seed = data.draw(st.integers(1, n)), data.draw(st.integers(0, 99))
    sets = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))[rand(seed, n).argsort()]
    score = (rand(seed, 2, n) * data.draw(st.sampled_from([2, 1000]))).round()
    kept = choose_by_set(score, sets.expand(2, -1), k)
    assert [own.nonzero().flatten().tolist() for own in kept] == [choose(own, sets, k) for own in score]


@pytest.mark.parametrize(("sizes", "k"), [([147, 196], 314), ([8, 49, 147, 14, 98], 56)])
def test_equal_shares_are_told_apart_as_halvings_do(sizes: list[int], k: int) -> None:
    """What a set reaches at a share of c / m may round up to c just below it, and not in another set."""
    sets = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    score = rand(0, len(sets))
    kept = choose_by_set(score, sets, k).nonzero().flatten().tolist()
    assert kept == choose(score, sets, k)
    assert len(kept) == k


GRIDS = (Grid(8, 4, 5), Grid(1, 2, 3))


def clips() -> Tensor:
    """Three samples of a clip and an image [3, 166, 16], whose clips have other cuts and other static places."""
    rows = []
    for b in range(3):
        scenes = rand(b, 4, 20, 16)[torch.tensor([0, 0, 0, 1, 1, 2, 3, 3][b:] + [3] * b)]
        rows.append(
            torch.cat([(scenes + 0.7 * rand(9 + b, 1, 20, 1) * rand(b + 5, 8, 20, 16)).flatten(0, 1), rand(b, 6, 16)])
        )
    return torch.stack(rows)


def views(states: Tensor, lead: tuple[int, ...]) -> View:
    n = states.shape[-2]
    stage = PruneVid().stage(0, 1.0, 0)
    return make_view(stage, n, n, grids=GRIDS, alive=torch.arange(n).expand(*lead, n), hidden={0: states})


def test_samples_are_merged_together_as_each_alone() -> None:
    states, strategy = clips(), PruneVid()
    view = views(states, (3,))
    together = strategy.select(view)
    counts = set()
    for b in range(3):
        own = views(states[b], ())
        alone = strategy.select(own).to_indices()
        assert together.values is not None
        assert together.order is not None
        row = Selection(together.keep[b], together.values[b], order=together.order[b]).to_indices()
        assert torch.equal(row.keep, alone.keep)
        torch.testing.assert_close(row.values, alone.values)
        assert torch.equal(view.memo["sets"][b], own.memo["sets"])
        counts.add(len(row.keep))
        # A set lies in one frame, where it is static or not.
        numbers = own.memo["sets"][row.keep].tolist()
        assert numbers == sorted(numbers)
        assert {number // 2 // 20 for number in numbers} == set(range(9))
        assert all(number // 2 == i // 20 * 20 for number, i in zip(numbers, row.keep.tolist(), strict=True))
        # Tokens of an image stay as they are: it has no more than 14.
        assert row.keep[-6:].tolist() == list(range(160, 166))
    assert len(counts) > 1


def test_the_question_chooses_by_set_in_every_sample() -> None:
    sets = torch.tensor([0, 0, 0, 0, 3, 3, 7]).repeat(2, 1)
    alive, request = torch.tensor([[0, 1, 2, 4, 5], [0, 1, 3, 4, 6]]), Attn(10, "question")
    attention = torch.zeros(2, 2, 3, 5)
    attention[0, 1, 2, 1], attention[0, 0, 0, 4], attention[1, 1, 1, 2], attention[1, 0, 2, 3] = 0.9, 0.8, 0.7, 0.6
    stage = PruneVid().stage(11, 2, 1)
    view = make_view(stage, 5, 2, n0=7, index=1, alive=alive, memo={"sets": sets}, attention={request: attention})
    # Of sets of three and two, a share below two thirds leaves one of each; of three, one and one, two of the three.
    assert PruneVid().select(view).keep.tolist() == [
        [False, True, False, False, True],
        [True, False, True, False, False],
    ]


def test_questions_of_unlike_lengths_choose_together() -> None:
    """A batch of clips whose questions have other lengths chooses what each of its rows does alone."""
    model, prompts = tiny("video-llava")
    first, _, third = prompts
    found = []
    for rows in ([first, third], [first], [third]):
        with tokenbench.pruned(model, "prunevid", "1/2") as pruning:
            generate(model, batched(rows), tokens=1)
        found.append(pruning.rows)
    together, *alone = found
    assert len({row.text for row in together}) == 2
    assert [row.ways for row in together] == [["stacked", "stacked"]] * 2
    assert [row.kept for row in together] == [row.kept for (row,) in alone]
