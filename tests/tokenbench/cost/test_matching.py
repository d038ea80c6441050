"""Schedules scaled to equal work, and the means that nominal budgets really have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenbench import Budget
from tokenbench.contract.sizes import DecoderSize
from tokenbench.contract.stage import Stage
from tokenbench.cost.macs import prefill_macs
from tokenbench.cost.matching import Match, tokens_per_layer
from tokenbench.engine import RowPlan
from tokenbench.errors import InfeasibleError
from tokenbench.registry.names import parse_strategy
from tokenbench.registry.plugins import registry

SIZE = DecoderSize(32, 4096, 4096, 4096, 11008, 3, 32064)
LLAVA = {"visual": 576, "depth": 32}
PRE_LLM = ["divprune", "vispruner", "visionzip", "prumerge", "hired", "tome", "pooling", "ficoco-v"]


def stages(name: str, budget: str, mode: str = "nominal", depth: int = 32, visual: int = 576) -> tuple[Stage, ...]:
    parsed = Budget.parse(budget)
    fit = None if mode == "nominal" else Match(mode, parsed, depth, SIZE)  # type: ignore[arg-type]
    return RowPlan.make(parse_strategy(name, registry()).strategy, parsed, depth, fit=fit).stages(visual, 50)


def mean(name: str, budget: str, mode: str = "nominal") -> float:
    return sum(tokens_per_layer(stages(name, budget, mode), **LLAVA)) / 32


def test_what_nominal_64_really_is_on_llava() -> None:
    assert {mean(name, "64") for name in PRE_LLM} == {64}
    assert mean("clse", "64") == pytest.approx(81.1, abs=0.1)
    assert mean("fastv", "64") == 96
    assert mean("priortr", "64") == 112


@pytest.mark.parametrize("mode", ["tokens", "flops"])
@pytest.mark.parametrize("budget", ["192", "128", "64", "1/3", "1/9"])
@pytest.mark.parametrize(
    "name", [*PRE_LLM, "clse", "clse-m", "fastv", "fastv:layer=3", "priortr", "pdrop", "sparsevlm", "dart", "random"]
)
def test_matched_schedules_do_the_same_work(name: str, budget: str, mode: str) -> None:
    if name == "sparsevlm" and budget in ("64", "1/9"):
        with pytest.raises(InfeasibleError, match="none are dropped before layer 3"):
            stages("sparsevlm", "32", mode)
    wanted = Budget.parse(budget).of(576).fraction * 576
    tokens = tokens_per_layer(stages(name, budget, mode), **LLAVA)
    if mode == "tokens":
        assert sum(tokens) / 32 == pytest.approx(wanted, abs=1)
    else:
        work, target = (prefill_macs(SIZE, n, 50) for n in (tokens, [wanted] * 32))
        one_more = prefill_macs(SIZE, [wanted + 1] * 32, 50) - target
        assert abs(work - target) <= one_more


def test_the_published_counts_of_matched_fastv() -> None:
    for layer, kept in ((2, (166, 98, 30)), (3, (152, 82, 11))):
        for budget, count in zip(("192", "128", "64"), kept, strict=True):
            (stage,) = stages(f"fastv:layer={layer}", budget, "tokens")
            assert stage.keep == pytest.approx(count, abs=1)


def test_what_cannot_be_matched_says_why() -> None:
    with pytest.raises(
        InfeasibleError, match=r"54\.9 visual tokens per layer, because none are dropped before layer 3"
    ):
        stages("fastv:layer=3", "32", "tokens")
    with pytest.raises(InfeasibleError, match="itself decides"):
        Match("tokens", Budget.parse("64"), 32)([Stage(0, None)], 576, 50)


@given(
    st.lists(st.tuples(st.integers(0, 31), st.floats(0.01, 1)), min_size=1, max_size=4, unique_by=lambda x: x[0]),
    st.integers(16, 3000),
    st.floats(0.02, 0.98),
)
def test_matching_never_misses_by_more_than_a_token_a_layer(
    shares: list[tuple[int, float]], visual: int, share: float
) -> None:
    schedule = [Stage(layer, keep) for layer, keep in sorted(shares)]
    budget = Budget.parse(f"{share:.4f}")
    try:
        fitted = Match("tokens", budget, 32)(schedule, visual, 50)
    except InfeasibleError:
        least = tokens_per_layer([Stage(s.layer, 1) for s in schedule], visual, 32)
        assert sum(least) / 32 > budget.fraction * visual - 1
        return
    assert sum(tokens_per_layer(fitted, visual, 32)) / 32 == pytest.approx(
        int(budget.fraction * visual), abs=len(schedule) / 2 + 1
    )
