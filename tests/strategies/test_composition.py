"""Strategies put together by name: whose scores, whose schedule, who merges; and what is refused, with the reason."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

import tokenbench
from tests.tiny import BACKBONES, tiny
from tokenbench import Attn, Budget, Selection, UsageError, View
from tokenbench.engine import RowPlan, RowTrace
from tokenbench.registry.composition import Composed
from tokenbench.registry.names import parse_strategy
from tokenbench.registry.plugins import registry
from tokenbench.testing import batched, generate, logits
from tokenbench_strategies.divprune import DivPrune, pick_diverse
from tokenbench_strategies.fastv import FastV
from tokenbench_strategies.merge import Matching
from tokenbench_strategies.pdrop import PDrop

BUDGET = "1/2"


def strategy(name: str) -> Any:
    return parse_strategy(name, registry()).strategy


def run(name: Any, backbone: str = "llava", budget: str = BUDGET) -> tuple[Tensor, list[RowTrace]]:
    model, prompts = tiny(backbone)
    with tokenbench.pruned(model, name, budget, keys=list("abc")) as pruning:
        found = logits(generate(model, batched(prompts), tokens=3))
    return found, pruning.prefills[0]


def decisions(rows: list[RowTrace]) -> list[Any]:
    return [([(layer, kept.tolist()) for layer, kept in row.stages], row.cache_lengths, row.compact) for row in rows]


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize(
    ("composed", "alone"),
    [
        ("clse+tome", "clse-m"),
        ("clse:score=evolution+merge", "clse-m:score=evolution"),
        ("fastv@attention", "attention"),
        ("fastv@clse", "attention"),
        ("attention@fastv", "fastv"),
        ("fastv@fastv", "fastv"),
        ("random@fastv", "random"),
    ],
)
def test_a_composition_equals_the_method_that_it_is(composed: str, alone: str, backbone: str) -> None:
    (one, rows), (other, others) = run(composed, backbone), run(alone, backbone)
    assert decisions(rows) == decisions(others)
    assert torch.equal(one, other)


def test_a_scorer_has_the_layers_counts_positions_and_cache_of_the_schedule() -> None:
    _, rows = run("fastv@pdrop")
    _, host = run("pdrop")
    for row, other in zip(rows, host, strict=True):
        assert [(layer, len(kept)) for layer, kept in row.stages] == [(layer, len(k)) for layer, k in other.stages]
        assert row.compact
        assert row.cache_lengths == other.cache_lengths
    assert decisions(rows) != decisions(host)
    stages = strategy("fastv@pdrop").stages(32, Budget.parse("1/3").of(576))
    assert [(stage.layer, stage.keep) for stage in stages] == PDrop().schedule(32, Budget.parse("1/3").of(576))
    for stage in stages:
        (request,) = stage.attention
        assert request == Attn(stage.layer - 1)


@pytest.mark.parametrize(("host", "trim", "positions"), [("clse", True, "original"), ("clse:kv=keep", False, "original"), ("pdrop", False, "compact"), ("priortr", True, "original")])  # fmt: skip
def test_cache_and_positions_come_from_the_schedule(host: str, trim: bool, positions: str) -> None:
    made = strategy(f"fastv@{host}")
    assert (made.trims(32), made.positions, made.stochastic, made.merges) == (trim, positions, False, False)
    assert strategy(f"random@{host}").stochastic
    assert strategy(f"fastv@{host}+tome").merges


class Kept(DivPrune):
    """DivPrune that shows what it saw."""

    seen: list[Any]

    def select(self, view: View) -> Selection:
        self.seen.append(view.hidden[0])
        return super().select(view)


def test_a_merger_keeps_the_set_and_makes_matched_means() -> None:
    _, rows = run("divprune+tome")
    _, alone = run("divprune")
    assert decisions(rows) == decisions(alone)
    assert [row.merged for row in rows] == [True] * 3
    seen: list[Tensor] = []
    found: list[Selection] = []

    class Spied(Composed):
        batching = "loop"

        def select(self, view: View) -> Selection:
            found.append(super().select(view))
            return found[-1]

    scorer = Kept(seen=seen)
    run(Spied(scorer=scorer, schedule_of=scorer, merger=Matching()))
    assert len(found) == 3
    for states, selection in zip(scorer.seen, found, strict=True):
        keep = pick_diverse(states, len(states) // 2)
        assert selection.keep.tolist() == keep.tolist()
        joined: dict[int, list[int]] = {int(i): [int(i)] for i in keep}
        for i in set(range(len(states))) - set(joined):
            joined[max(joined, key=lambda j: float(cosine_similarity(states[i], states[j], dim=0)))].append(i)
        assert selection.values is not None
        expected = torch.stack([states[own].mean(0) for _, own in sorted(joined.items())])
        torch.testing.assert_close(selection.values, expected)


def test_sizes_are_carried_from_stage_to_stage() -> None:
    """Whatever the stages, a token that took in all others is the mean of all."""
    seen: list[dict[str, Any]] = []

    class Spied(Composed):
        batching = "loop"

        def select(self, view: View) -> Selection:
            before = view.memo.get("sizes", torch.ones(view.n))
            selection = super().select(view)
            assert selection.values is not None
            states, after = view.hidden[view.stage.layer], view.memo["sizes"]
            assert float(before.sum()) == float(after.sum()) == view.n0
            total = (selection.values * after.unsqueeze(1)).sum(0)
            torch.testing.assert_close(total, (states * before.unsqueeze(1)).sum(0), atol=1e-4, rtol=1e-4)
            seen.append({"stage": view.index, "sizes": after})
            return selection

    run(Spied(scorer=FastV(), schedule_of=PDrop(), merger=Matching()))
    assert [one["stage"] for one in seen] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert max(float(one["sizes"].max()) for one in seen) > 2


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("fastv@pdrop", "fastv@pdrop"),
        (" fastv@pdrop+merge ", "fastv@pdrop+merge"),
        ("fastv+tome", "fastv+tome"),
        ("clse:temp=0.10:score=product+merge", "clse+merge"),
        ("clse:fft=3d:temp=0.2@clse:layers=3:kv=keep+tome", "clse:temp=0.2:fft=3d@clse:layers=3:kv=keep+tome"),
        ("priortr:last=no", "priortr:last=False"),
        ("priortr:last=False", "priortr:last=False"),
        ("vispruner:important=0.5", "vispruner"),
        ("random@hired", "random@hired"),
    ],
)
def test_names_are_canonical(text: str, name: str) -> None:
    assert parse_strategy(text, registry()).name == name
    assert parse_strategy(name, registry()).name == name


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("vanilla+merge", "Vanilla takes no budget, so that it has no scores and no counts"),
        ("blind+tome", "Blind takes no budget"),
        ("fastv@blind", "Blind takes no budget"),
        ("divprune@vanilla", "Vanilla takes no budget"),
        ("vanilla@fastv", "Vanilla takes no budget"),
        ("tome+merge", "ToMe already merges"),
        ("clse-m+tome", "CLSEM already merges"),
        ("sparsevlm@pdrop+merge", "SparseVLM already merges"),
        ("downsample+tome", "Downsample already merges"),
        ("fastv+nothing", "unknown merger 'nothing': known: merge, tome"),
        ("fastv+tme", "unknown merger 'tme': did you mean tome"),
        ("fastv+", "unknown merger ''"),
        ("divprune@", "unknown strategy ''"),
        ("@pdrop", "unknown strategy ''"),
        ("fastv@pdrops", "unknown strategy 'pdrops': did you mean pdrop"),
        ("fastv+merge+tome", r"unknown merger 'merge\+tome'"),
        ("fastv@pdrop@clse", "unknown strategy 'pdrop@clse'"),
        ("fastv@pdrop:layer=1", "unknown parameter of 'pdrop' 'layer'"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parse_strategy(text, registry())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("fastv@divprune", "stage before layer 0: attention of layer -1 is not available there"),
        ("clse@tome", "stage before layer 0: attention of layer -1 is not available there"),
        ("priortr@hired", "stage before layer 0: attention of layer -1 is not available there"),
        ("dart@divprune", "stage before layer 0: keys of layer -1 are not available there"),
        (
            "visionzip@fastv",
            "VisionZip creates new tokens with the projector, so it must run before layer 0, not before layer 2",
        ),
        (
            "prumerge@priortr",
            "PruMerge creates new tokens with the projector, so it must run before layer 0, not before layer 3",
        ),
        (
            "ficoco-v@clse",
            "FiCoCoV creates new tokens with the projector, so it must run before layer 0, not before layer 1",
        ),
        (
            "downsample@fastv",
            "Downsample creates new tokens with the projector, so it must run before layer 0, not before layer 2",
        ),
        ("pooling@clse", "Pooling needs whole lattices"),
    ],
)
def test_a_place_where_it_cannot_run_is_refused_before_anything_runs(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        RowPlan.make(strategy(text), Budget.parse("64"), 32)


@pytest.mark.parametrize("text", ["pdrop@divprune", "visionzip@tome", "pooling@fastv", "hired@pdrop", "vispruner@clse", "tome@pdrop", "clse@pdrop", "sparsevlm@fastv", "dart@clse+tome", "uniform@pdrop", "clse:fft=3d@fastv", "priortr-2f@clse"])  # fmt: skip
@pytest.mark.parametrize("backbone", BACKBONES)
def test_what_fits_runs_with_the_counts_of_the_schedule(text: str, backbone: str) -> None:
    _, rows = run(text, backbone)
    _, host = run(text.partition("@")[2].partition("+")[0], backbone)
    assert [row.tokens_per_layer for row in rows] == [row.tokens_per_layer for row in host]
