"""Density-peak clusters, and the strategies that recycle with them, against their definitions in loops."""

from __future__ import annotations

from math import dist, exp, sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import tokenbench
from tests.strategies.views import make_view, rand
from tests.tiny import tiny
from tokenbench import Attn, Budget, Grid
from tokenbench.testing import batched, generate
from tokenbench_strategies.clse import CLSE
from tokenbench_strategies.clse_m_paper import CLSEMPaper
from tokenbench_strategies.density import cluster_states, keep_and_recycle, split
from tokenbench_strategies.sparsevlm import SparseVLM, find_raters

SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60)).map(lambda pair: (max(pair), min(pair)))


def peaks(points: list[list[float]], count: int) -> tuple[list[int], list[int]]:
    """Centres in order, and whose centre every point's is."""
    m, width = len(points), sqrt(len(points[0]))
    apart = [[dist(a, b) / width for b in points] for a in points]
    density = [exp(-sum(d * d for d in sorted(row)[:count]) / count) for row in apart]
    farthest = max(max(row) for row in apart)

    def denser(i: int, j: int) -> bool:
        return (density[i], -i) > (density[j], -j)

    score = [density[j] * min([apart[i][j] for i in range(m) if denser(i, j)] or [farthest]) for j in range(m)]
    centres = sorted(sorted(range(m), key=lambda j: (-score[j], j))[:count])
    homes = [
        centres.index(j) if j in centres else min(range(count), key=lambda c: apart[j][centres[c]]) for j in range(m)
    ]
    return centres, homes


@given(SIZES, st.integers(0, 99))
def test_clusters_are_density_peaks(size: tuple[int, int], seed: int) -> None:
    m, count = size
    states = rand(seed, m, 4)
    centres, homes = cluster_states(states, count)
    expected = peaks(states.tolist(), count)
    assert (centres.tolist(), homes.tolist()) == expected


def test_two_clouds_have_two_centres() -> None:
    """The closest pair of a cloud is its densest; of a pair the first counts as denser, and the other has it near."""
    states = torch.tensor([[0.0], [0.25], [0.75], [9.0], [9.25], [9.75]])
    centres, homes = cluster_states(states, 2)
    assert centres.tolist() == [0, 3]
    assert homes.tolist() == [0, 0, 0, 1, 1, 1]


def test_equal_tokens_have_a_centre_each_as_far_as_it_goes() -> None:
    centres, homes = cluster_states(torch.ones(7, 3), 3)
    assert len(centres) == len(set(homes.tolist())) == 3
    assert homes[centres].tolist() == [0, 1, 2]


def recycled(states: Tensor, score: Tensor, total: int) -> dict[int, Tensor]:
    """Slot and state of everything that is left."""
    n = len(states)
    kept, count = split(total, n)
    ranked = sorted(range(n), key=lambda i: -float(score[i]))
    left = {i: states[i] for i in ranked[:kept]}
    if count:
        pool = sorted(ranked[kept : kept + max(count, int(0.3 * (n - kept)) + 1)])
        centres, homes = peaks(states[pool].tolist(), count)
        for c, centre in enumerate(centres):
            left[pool[centre]] = states[[pool[j] for j in range(len(pool)) if homes[j] == c]].mean(0)
    return left


@given(SIZES, st.integers(0, 99))
def test_the_best_of_the_rest_is_recycled(size: tuple[int, int], seed: int) -> None:
    n, total = size
    states, score = rand(seed, n, 4), rand(seed + 1, n)
    expected = recycled(states, score, total)
    selection = keep_and_recycle(states, score, total)
    assert selection.keep.tolist() == sorted(expected)
    assert len(expected) == total
    if selection.values is None:
        assert split(total, n)[1] == 0
    else:
        torch.testing.assert_close(selection.values, torch.stack([expected[i] for i in sorted(expected)]))


def raters_of(visual: Tensor, text: Tensor) -> Tensor:
    """Which words [m, C] score, for visual tokens [n, C]."""
    view = make_view(SparseVLM().stage(3, 1, 0), len(visual), 1, hidden={0: visual}, text={0: text})
    return find_raters(view)


@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 99))
def test_raters_are_words_that_attract_more_than_the_mean(n: int, words: int, seed: int) -> None:
    visual, text = rand(seed, n, 3), rand(seed + 1, words, 3)
    share = [0.0] * words
    for token in visual.tolist():
        weights = [exp(sum(a * b for a, b in zip(token, word, strict=True))) for word in text.tolist()]
        for j, weight in enumerate(weights):
            share[j] += weight / sum(weights) / n
    expected = [j for j in range(words) if share[j] > 1 / words] if words > 1 else [0]
    assert raters_of(visual, text).nonzero().flatten().tolist() == expected


def test_where_no_word_stands_out_all_rate() -> None:
    assert raters_of(rand(0, 5, 3), torch.ones(4, 3)).tolist() == [True] * 4


def test_sparsevlm_scores_by_the_attention_of_the_raters_chosen_at_the_embeddings() -> None:
    visual, text, now = rand(0, 30, 4), rand(1, 6, 4), rand(2, 30, 4)
    stages = SparseVLM().stages(32, Budget.parse("1/3").of(30))
    rows = rand(3, 2, 6, 30).softmax(-1)
    request = Attn(2, "question")
    assert stages[0].attention == (request,)
    view = make_view(stages[0], 30, 12, hidden={0: visual, 3: now}, text={0: text}, attention={request: rows})
    chosen = raters_of(visual, text).nonzero().flatten().tolist()
    assert 0 < len(chosen) < 6
    score = torch.tensor([sum(float(rows[h, j, i]) for h in range(2) for j in chosen) for i in range(30)])
    expected = recycled(now, score, 12)
    selection = SparseVLM().select(view)
    assert selection.keep.tolist() == sorted(expected)
    assert selection.values is not None
    torch.testing.assert_close(selection.values, torch.stack([expected[i] for i in sorted(expected)]))
    # Later stages see fewer visual tokens, but the same raters.
    later = make_view(
        stages[1], 10, 4, index=1, hidden={0: -visual[:10], 7: now[:10]}, text={0: text}, memo=view.memo,
        attention={Attn(6, "question"): rows[..., :10]},
    )  # fmt: skip
    assert SparseVLM().select(later).keep.tolist() == sorted(recycled(now[:10], score[:10], 4))


def test_clse_m_of_the_paper_recycles_by_the_score_of_clse() -> None:
    strategy = CLSEMPaper()
    (stage,) = strategy.stages(32, Budget.parse("20"))
    assert (stage.layer, stage.keep, stage.hidden) == (1, 20, (0, 1))
    assert not strategy.trim
    before, after, rows = rand(0, 48, 4), rand(1, 48, 4), rand(2, 2, 1, 48).softmax(-1)
    seen = {"grids": (Grid(1, 6, 8),), "hidden": {0: before, 1: after}, "attention": {Attn(0): rows}}
    expected = recycled(after, CLSE().score(make_view(stage, 48, 20, **seen)), 20)
    selection = strategy.select(make_view(stage, 48, 20, **seen))
    assert selection.keep.tolist() == sorted(expected)
    assert selection.values is not None
    torch.testing.assert_close(selection.values, torch.stack([expected[i] for i in sorted(expected)]))


@pytest.mark.parametrize("name", ["clse-m-paper:layers=1/3", "clse-m-paper@pdrop", "sparsevlm@clse"])
def test_recycling_may_have_several_stages(name: str) -> None:
    model, prompts = tiny("llava")
    with tokenbench.pruned(model, name, "1/2") as pruning:
        generate(model, batched(prompts), tokens=2)
    for row in pruning.rows:
        assert len(row.stages) > 1
        assert row.merged
