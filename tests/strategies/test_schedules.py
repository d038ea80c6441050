"""How many tokens the schedules leave, against the papers' counts."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies.views import layer_means
from tokenbench import Budget, Strategy
from tokenbench.contract.budget import count
from tokenbench.engine import RowPlan
from tokenbench.registry.plugins import registry
from tokenbench_strategies.density import count_clusters, split
from tokenbench_strategies.pdrop import PDrop
from tokenbench_strategies.sparsevlm import SparseVLM


def strategy(name: str) -> Strategy:
    made: Strategy = registry().get("strategies", name)()
    return made


def counts(made: Strategy, budget: str, depth: int = 32, visual: int = 576) -> list[tuple[int, int]]:
    """(layer, tokens from there on) of every stage."""
    found, alive = [], visual
    for stage in RowPlan.make(made, Budget.parse(budget), depth).stages(visual):
        assert stage.keep is not None
        alive = count(stage.keep, visual, alive)
        found.append((stage.layer, alive))
    return found


@pytest.mark.parametrize(
    ("name", "mean"),
    [
        *((name, 64) for name in ("divprune", "visionzip", "vispruner", "hired", "prumerge", "ficoco-v")),
        *((name, 64) for name in ("tome", "pooling", "downsample")),
        *((name, 81.125) for name in ("clse", "attention", "clse-m")),  # (576 + 10 * 110 + 10 * 70 + 11 * 20) / 32
        *((name, 80) for name in ("clse-m-paper",)),  # (576 + 31 * 64) / 32
        *((name, 96) for name in ("fastv", "dart", "random", "uniform")),  # (2 * 576 + 30 * 64) / 32
        *((name, 112) for name in ("priortr", "priortr-2f")),  # (3 * 576 + 29 * 64) / 32
    ],
)
def test_mean_over_layers_of_llava_at_64(name: str, mean: float) -> None:
    assert layer_means(strategy(name), "64") == mean


@pytest.mark.parametrize("budget", ["1/2", "1/3", "2/9", "1/9", "192", "64", "0.27", "0.26", "1/16"])
def test_the_mean_of_pdrop_is_its_budget(budget: str) -> None:
    share = Budget.parse(budget).of(576).fraction
    assert layer_means(PDrop(), budget) == pytest.approx(share * 576, abs=1)


def test_pdrop_at_the_mean_of_the_papers_schedule_is_that_schedule() -> None:
    assert (1 + 1 / 2 + 1 / 4 + 1 / 8) / 4 == 0.46875
    assert counts(PDrop(), "0.46875") == [(8, 288), (16, 144), (24, 72)]
    assert layer_means(PDrop(), "270") == 270


def test_pdrop_moves_its_first_stage_where_the_early_layers_alone_cost_more() -> None:
    assert [layer for layer, _ in counts(PDrop(), "1/3")] == [8, 16, 24]
    assert [layer for layer, _ in counts(PDrop(), "2/9")] == [2, 16, 24]
    # One part in 32 is less than the layers before the first stage: one token is left after it.
    assert [kept for _, kept in counts(PDrop(), "1/32")] == [1, 1, 1]


@given(st.fractions(Fraction(1, 10), Fraction(9, 10)))
def test_pdrop_keeps_one_ratio_from_stage_to_stage(share: Fraction) -> None:
    keeps = [float(stage.keep or 0) for stage in PDrop().stages(32, Budget("", share=share).of(10**6))]
    assert keeps[1] == pytest.approx(keeps[0] ** 2)
    assert keeps[2] == pytest.approx(keeps[0] ** 3)


@pytest.mark.parametrize(
    ("budget", "kept"), [("192", (300, 200, 110)), ("128", (303, 110, 36)), ("96", (238, 48, 26)), ("64", (66, 30, 17)), ("1/3", (300, 200, 110))]
)  # fmt: skip
def test_sparsevlm_keeps_what_its_code_keeps_and_the_clusters_on_top(budget: str, kept: tuple[int, ...]) -> None:
    n, expected = 576, []
    for layer, keep in zip((3, 7, 16), kept, strict=True):
        recycled = int(0.3 * (n - keep)) + 1
        total = keep + recycled // 10 + 1
        assert split(total, n) == (keep, recycled // 10 + 1)
        expected.append((layer, total))
        n = total
    assert counts(SparseVLM(), budget) == expected


def test_the_mean_of_sparsevlm_at_192_is_published() -> None:
    assert layer_means(SparseVLM(), "192") == 206.5


@pytest.mark.parametrize(("share", "tokens"), [("0.334", "192"), ("33.3%", "192"), ("0.223", "128"), ("0.112", "64"), ("11.1%", "64")])  # fmt: skip
def test_sparsevlm_takes_rounded_shares_for_the_published_ones(share: str, tokens: str) -> None:
    assert counts(SparseVLM(), share) == counts(SparseVLM(), tokens)


@pytest.mark.parametrize("tokens", [97, 100, 65, 1])
def test_sparsevlm_keeps_the_shares_of_192_elsewhere(tokens: int) -> None:
    n = 576
    for (_, total), of_192 in zip(counts(SparseVLM(), str(tokens)), (300, 200, 110), strict=True):
        kept = max(1, of_192 * tokens // 192)
        assert total == kept + count_clusters(n - kept)
        n = total


@given(st.integers(1, 600), st.integers(1, 700))
def test_kept_and_clusters_make_the_total(total: int, n: int) -> None:
    total = min(total, n)
    kept, clusters = split(total, n)
    assert kept + clusters == total
    assert kept >= 1
    assert 0 <= clusters <= n - kept
    if kept > 1:  # enough to go round: as many clusters as so many dropped tokens make
        assert clusters == count_clusters(n - kept)


@pytest.mark.parametrize(("dropped", "clusters"), [(0, 0), (1, 1), (29, 1), (30, 2), (276, 9), (109, 4), (94, 3)])
def test_clusters_of_so_many_dropped_tokens(dropped: int, clusters: int) -> None:
    assert count_clusters(dropped) == clusters


@pytest.mark.parametrize(
    "name", sorted(name for name in registry().names("strategies") if registry().get("strategies", name).budgeted)
)
def test_every_schedule_runs_at_every_usual_depth(name: str) -> None:
    for depth in (6, 24, 28, 32, 36, 80):
        for budget in ("1/3", "1/9", "1", "576", "900"):
            kept = [tokens for _, tokens in counts(strategy(name), budget, depth)]
            assert all(1 <= tokens <= 576 for tokens in kept)
            assert kept == sorted(kept, reverse=True)
