"""Methods that prune inside the decoder keep the tokens that their released code keeps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.strategies.recorded import Case, assert_keeps, cases, made, seen, stages
from tokenbench import Budget, Strategy, View
from tokenbench.engine import RowPlan


def by_case(*found: Case) -> Any:
    return pytest.mark.parametrize("case", found, ids=str)


def attention_of(view_of: Any, rows: Tensor) -> dict[Any, Tensor]:
    """What a stage asks for of the attention rows [heads, queries, n] of the tokens after the image."""
    spans = {"last": rows[:, -1:], "null": rows[:, :1], "question": rows, "question[:-1]": rows[:, :-1]}
    return {request: spans[request.queries] for request in view_of.attention}


def assert_layers(strategy: Strategy, case: Case, visual: int) -> None:
    """Layers and counts, layer by layer, are those that the released code computes."""
    spans, tokens, start = [], visual, 0
    for stage in stages(strategy, case, visual):
        spans.append([tokens, stage.layer - start])
        tokens, start = seen(stage, tokens, n0=visual).k, stage.layer
    assert [*spans, [tokens, case.facts["depth"] - start]] == case.facts["tokens"]


@by_case(*cases("fastv"))
def test_fastv(case: Case) -> None:
    strategy, n = made("fastv"), case.grid.tokens
    assert_layers(strategy, case, n)
    (stage,) = stages(strategy, case, n)
    assert_keeps(strategy.select(seen(stage, n, attention=attention_of(stage, case["attention"]))), case)


@by_case(*cases("pdrop"))
def test_pdrop(case: Case) -> None:
    strategy, n = made("pdrop"), case.grid.tokens
    assert_layers(strategy, case, n)
    alive = torch.arange(n)
    for j, stage in enumerate(stages(strategy, case, n)):
        rows = attention_of(stage, case[f"attention_{j}"])
        selection = strategy.select(seen(stage, len(alive), n0=n, alive=alive, index=j, attention=rows))
        assert_keeps(selection, case, f"_{j}")
        alive = alive[selection.keep]
    assert alive.tolist() == case["alive"].tolist()


def follow_clse(strategy: Strategy, case: Case, budget: str) -> None:
    n, depth, alive = case.grid.tokens, case.facts["depth"], torch.arange(case.grid.tokens)
    plan = RowPlan.make(strategy, Budget.parse(budget), depth)
    for j, stage in enumerate(plan.stages(n)):
        shown: dict[str, Any] = {"attention": attention_of(stage, case[f"attention_{j}"][..., : len(alive)])}
        if stage.hidden:
            shown["hidden"] = {depth: case[f"hidden_{min(depth, 1)}"] for depth in stage.hidden}
        view = seen(stage, len(alive), n0=n, alive=alive, index=j, grids=(case.grid,), **shown)
        if j == 0:
            torch.testing.assert_close(strategy.score(view).float(), case["score_0"], atol=1e-5, rtol=0)
        selection = strategy.select(view)
        assert_keeps(selection, case, f"_{j}")
        alive = alive[selection.keep]
    assert plan.trim == ("cache" not in case.facts)


PRODUCT = [case for name in ("clse", "attention") for case in cases(name, "-k") + cases(name, "-qwen2-vl")]


@by_case(*(case for case in PRODUCT if "grid" in case.facts))
def test_clse_and_attention(case: Case) -> None:
    strategy = made(case.method)
    assert_layers(strategy, case, case.grid.tokens)
    follow_clse(strategy, case, case.facts["budget"])


SHARES = {"192/576": "1/3", "128/576": "2/9", "64/576": "1/9"}


@by_case(*(case for case in PRODUCT if "share" in case.facts))
def test_clse_and_attention_by_shares(case: Case) -> None:
    follow_clse(made(case.method), case, SHARES[case.facts["share"]])


@by_case(*cases("clse", "evolution"))
def test_clse_by_evolution(case: Case) -> None:
    """The released code ranks by the gate, which saturates, so that scores are compared and no choice."""
    from tokenbench_strategies.clse import CLSE, gate

    strategy = CLSE(score="evolution")
    (stage, *_) = RowPlan.make(strategy, Budget.parse("192"), 32).stages(case.grid.tokens)
    view = seen(stage, case.grid.tokens, grids=(case.grid,), hidden={d: case[f"hidden_{d}"] for d in (0, 1)},
                attention=attention_of(stage, torch.ones(1, 1, case.grid.tokens)))  # fmt: skip
    torch.testing.assert_close(gate(strategy.score(view), 0.1).float(), case["score"], atol=1e-4, rtol=0)


@by_case(*(case for name in ("clse", "attention") for case in cases(name, "schedule-qwen2-vl")))
def test_clse_schedules_of_qwen2_vl(case: Case) -> None:
    for share, visual, keeps in case.facts["keeps"]:
        found = RowPlan.make(made(case.method), Budget.parse(share), 28).stages(visual)
        assert [(stage.layer, stage.keep) for stage in found] == list(zip((1, 10, 19), keeps, strict=True))


@by_case(*(case for name in ("clse", "attention") for case in cases(name, "schedule-llava")))
def test_clse_schedules_of_llava(case: Case) -> None:
    """At budgets that are not published, the released counts are fractions, with which it stops; ours are within one."""
    for budget, keeps in case.facts["published"].items():
        found = RowPlan.make(made(case.method), Budget.parse(budget), 32).stages(576)
        assert [(stage.layer, stage.keep) for stage in found] == list(zip(case.facts["layers"], keeps, strict=True))
    for budget, other in case.facts["other"].items():
        assert not other["runs"]
        found = RowPlan.make(made(case.method), Budget.parse(budget), 32).stages(576)
        assert [stage.keep for stage in found] == pytest.approx(other["keeps"], abs=1)


PORTS = {"llava": {}, "qwen2-vl": {"last": False}, "internvl": {"anchor": 1, "layer": 2}}


@by_case(*cases("priortr"))
def test_priortr(case: Case) -> None:
    strategy, n = made("priortr", **PORTS[case.facts["model"]]), case.grid.tokens
    assert_layers(strategy, case, n)
    (stage,) = stages(strategy, case, n)
    view = seen(stage, n, attention=attention_of(stage, case["attention"]))
    torch.testing.assert_close(strategy.score(view), case["score"], atol=1e-5, rtol=0)
    assert_keeps(strategy.select(view), case)


@by_case(*cases("priortr-2f"))
def test_priortr_2f(case: Case) -> None:
    strategy, n = made("priortr-2f", last=False), case.grid.tokens
    assert_layers(strategy, case, n)
    (stage,) = stages(strategy, case, n)
    posterior, prior = stage.attention
    view = seen(stage, n, attention={posterior: case["attention"][:, :-1], prior: case["prior"]})
    torch.testing.assert_close(strategy.score(view), case["score"], atol=1e-5, rtol=0)
    assert_keeps(strategy.select(view), case)


@by_case(*cases("sparsevlm"))
def test_sparsevlm(case: Case) -> None:
    """Kept tokens and cluster means; where densities tie, the means are those of one of the released code's draws."""
    strategy, n = made("sparsevlm"), case.grid.tokens
    assert_layers(strategy, case, n)
    memo: dict[str, Any] = {}
    alive, words = n, case["words"]
    for j, stage in enumerate(stages(strategy, case, n)):
        hidden = {stage.layer: case[f"hidden_{j}"][:alive], 0: case["visual"]}
        rows = attention_of(stage, case[f"attention_{j}"][..., :alive])
        view = seen(stage, alive, n0=n, index=j, hidden=hidden, text={0: words}, attention=rows, memo=memo)
        if j == 0:
            strategy.score(view)
            assert memo["raters"].nonzero().flatten().tolist() == case["raters"].tolist()
        alive = assert_recycles(view, strategy, case, j)


def assert_recycles(view: View, strategy: Strategy, case: Case, j: int) -> int:
    kept, clusters = case.facts["keeps"][j]
    torch.testing.assert_close(strategy.score(view), case[f"relevance_{j}"], atol=1e-6, rtol=1e-5)
    selection = strategy.select(view)
    assert selection.values is not None
    states = view.hidden[view.stage.layer]
    unchanged = (selection.values == states[selection.keep]).all(1)
    recorded = case.kept(f"_{j}")
    ours = [i for i in selection.keep.tolist() if i in recorded]
    assert ours == recorded
    is_kept = torch.tensor([i in recorded for i in selection.keep.tolist()])
    assert unchanged[is_kept].all()
    assert (int(is_kept.sum()), int((~is_kept).sum())) == (kept, clusters)
    means = selection.values[~is_kept]
    draws = [case[f"merged_{j}_{o}"] for o in range(min(12, case.facts["outcomes"][j]))]
    gaps = [
        torch.cdist(means, draw).min(1).values.max() + torch.cdist(draw, means).min(1).values.max() for draw in draws
    ]
    assert min(gaps) < 1e-4, f"no recorded draw has these clusters: {min(gaps)}"
    return len(selection.keep)


@by_case(*cases("dart"))
def test_dart(case: Case) -> None:
    """With the pivots in the order of a Python set of their places in the prompt, as released."""
    strategy, n, lead = made("dart", released=True), case.grid.tokens, case.facts["lead"]
    assert_layers(strategy, case, n)
    (stage,) = stages(strategy, case, n)
    states, keys = case["states"], case["keys"].transpose(0, 1).flatten(1)
    visual, text = slice(lead, lead + n), slice(lead + n, None)
    places = torch.arange(len(states))[None]
    shown = {"hidden": {2: states[visual]}, "text": {2: states[text]}, "keys": {1: keys[visual]}, "text_keys": {1: keys[text]}}  # fmt: skip
    view = seen(stage, n, positions=places[:, visual], text_positions=places[:, text], **shown)
    assert_keeps(strategy.select(view), case)
