"""Rows that look alike to a strategy are chosen for at once, and nobody can tell from the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import tokenbench
from benchmarks.launches import prefill
from tests.tiny import STRATEGIES, tiny
from tokenbench import Attn, Budget, Keep, Selection, Signal, Stage, Strategy, View
from tokenbench.contract.strategy import top
from tokenbench.engine import RowTrace
from tokenbench.errors import StrategyError
from tokenbench.registry.plugins import registry
from tokenbench.testing import batched, generate, logits
from tokenbench_strategies.divprune import DivPrune
from tokenbench_strategies.downsample import Downsample
from tokenbench_strategies.fastv import FastV
from tokenbench_strategies.ficoco_v import FiCoCoV
from tokenbench_strategies.random import Random

# Those whose counts depend on what they see, also on images, so that the layers see rows of unlike lengths.
UNLIKE = {"prumerge-adaptive"}
# Operators beyond the stock model's, at most: a few more than there are today.
BOUNDS = {"vanilla": 5, "fastv": 32, "clse": 140}
QUICK = {"fastv", "clse", "sparsevlm", "divprune", "visionzip", "ficoco-v", "random", "downsample", "prumerge-adaptive"}


def like_rows(count: int, backbone: str = "llava") -> dict[str, Tensor]:
    """Rows of one form that show different pictures."""
    _, prompts = tiny(backbone)
    rows = [{**prompts[0], "pixel_values": prompts[0]["pixel_values"].roll(b, -1)} for b in range(count)]
    return batched(rows)


def run(strategy: Any, rows: int = 3) -> list[RowTrace]:
    model, _ = tiny("llava")
    with tokenbench.pruned(model, strategy, "1/2", keys=[str(b) for b in range(rows)]) as pruning:
        generate(model, like_rows(rows), tokens=1)
    return pruning.rows


def added(backbone: str, name: str, inputs: dict[str, Tensor]) -> tuple[int, int]:
    """Operators and looks of a prefill beyond the stock model's."""
    model, _ = tiny(backbone)
    budget = "1/2" if registry().get("strategies", name).budgeted else None
    own, usual = prefill(model, inputs, name, budget), inputs
    if name in UNLIKE and len(inputs["input_ids"]) > 1:  # as the stock model runs such rows: the first one begins later
        usual = {**inputs, "attention_mask": inputs["attention_mask"].clone()}
        usual["attention_mask"][0, 0] = 0
    stock = prefill(model, usual, None, None)
    return own.operators.total() - stock.operators.total(), own.looks.total() - stock.looks.total()


@pytest.mark.parametrize("backbone", ["llava", "qwen2.5-vl"])
@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in STRATEGIES])
def test_rows_add_neither_operators_nor_looks(name: str, backbone: str) -> None:
    (one, looks), (four, more) = (added(backbone, name, like_rows(rows, backbone)) for rows in (1, 4))
    assert four <= 1.2 * max(one, 0) + 12  # what stacks and unstacks
    assert more <= looks


@pytest.mark.parametrize(
    ("name", "backbone"), [("vanilla", "qwen2-vl"), ("vanilla", "qwen3-vl"), ("visionzip", "qwen2.5-vl")]
)
def test_rows_of_unlike_pictures_add_nothing_where_others_are_like_them(name: str, backbone: str) -> None:
    _, prompts = tiny(backbone)
    (three, looks), (six, more) = (added(backbone, name, batched(prompts * times)) for times in (1, 2))
    assert six - three <= (0 if name == "vanilla" else 3 * 12)  # a group for each of three sizes, which stacks
    assert more <= looks


@pytest.mark.parametrize("name", BOUNDS)
def test_one_row_adds_few_operators(name: str) -> None:
    model, _ = tiny("llava")
    prefill(model, like_rows(1), name, None if name == "vanilla" else "1/2")  # masks of lattices are made once
    own, stock = (
        prefill(model, like_rows(1), strategy, None if name == "vanilla" else "1/2") for strategy in (name, None)
    )
    assert own.operators.total() - stock.operators.total() <= BOUNDS[name]


def test_composite_operators_count_as_one_if_asked() -> None:
    model, _ = tiny("llava")
    parts, composites = (prefill(model, like_rows(1), None, None, composites=whole) for whole in (False, True))
    assert composites.operators["linear"] > 0 == parts.operators["linear"]
    assert parts.operators["addmm"] + parts.operators["mm"] > composites.operators["addmm"] + composites.operators["mm"]


def test_what_is_launched_is_listed_by_the_code_that_launches_it() -> None:
    model, _ = tiny("llava")
    stock, own = (prefill(model, like_rows(1), strategy, "1/2") for strategy in (None, "fastv"))
    assert not stock.own
    assert own.own["tokenbench_strategies.fastv: FastV.score", "mean"] == 1
    assert own.own["tokenbench.engine.attention_tap: Attended.weights", "_softmax"] == 1
    left_out = stock.operators.total() - (own.operators.total() - own.own.total())
    assert left_out == stock.operators["cat"] - own.operators["cat"]  # the stock cache would copy the prompt's keys


class Steps(Strategy):
    """Every other token, by a score that is written for one sample."""

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        return [(2, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        return Stage(layer, keep, attention=(Attn(1),), hidden=(0,))

    def score(self, view: View) -> Tensor:
        view.memo["seen"] = view.hidden[0].sum()
        return view.attention[Attn(1)].mean((0, 1))


def means_of_rows() -> list[float]:
    """The mean state of each of three rows, by which a strategy can tell them apart."""
    seen: list[float] = []

    class See(Steps):
        batching = "loop"

        def score(self, view: View) -> Tensor:
            seen.append(float(view.hidden[0].mean()))
            return super().score(view)

    run(See())
    return seen


def test_the_trace_says_how_rows_ran() -> None:
    assert [row.ways for row in run("fastv")] == [["vmap"]] * 3
    assert [row.ways for row in run("divprune")] == [["stacked"]] * 3
    assert [row.ways for row in run("random")] == [["stacked"]] * 3
    assert [row.ways for row in run("prumerge-adaptive")] == [["vmap"]] * 3
    assert [row.ways for row in run("divprune", rows=1)] == [["alone"]]
    assert [row.ways for row in run("clse")] == [["vmap"] * 3] * 3


@pytest.mark.parametrize("strategy", [Steps(), DivPrune(), FastV(), FiCoCoV(), Random()])
def test_rows_together_choose_what_each_chooses_alone(strategy: Strategy) -> None:
    class Alone(type(strategy)):  # type: ignore[misc]
        batching = "loop"

        def select(self, view: View) -> Selection:
            selection: Selection = super().select(view)
            return selection

    together, alone = run(strategy, 4), run(Alone(), 4)
    assert [row.ways for row in alone] == [["loop"]] * 4
    assert [row.kept for row in together] == [row.kept for row in alone]
    assert len({tuple(row.kept) for row in together}) > 1


def clip_of(picture: dict[str, Tensor]) -> dict[str, Tensor]:
    """A prompt of Qwen-VL whose picture of 3 x 4 tokens is taken for a clip of three frames of 2 x 2."""
    image = picture["mm_token_type_ids"] == 1
    return {
        "input_ids": picture["input_ids"].masked_fill(image, tiny("qwen2.5-vl")[0].config.video_token_id),
        "attention_mask": picture["attention_mask"],
        "pixel_values_videos": picture["pixel_values"],
        "video_grid_thw": torch.tensor([[3, 4, 4]]),
        "mm_token_type_ids": 2 * picture["mm_token_type_ids"],
    }


@pytest.mark.parametrize(
    ("backbone", "shown"),
    [
        ("llava", "picture"),
        pytest.param("internvl", "picture", marks=pytest.mark.slow),
        ("qwen2.5-vl", "picture"),
        ("qwen2.5-vl", "pictures"),
        ("qwen2.5-vl", "clip"),
        pytest.param("qwen2-vl", "pictures", marks=pytest.mark.slow),
        pytest.param("qwen3-vl", "pictures", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(("kind", "options"), [(Downsample, {}), (FiCoCoV, {}), (FiCoCoV, {"start": 0.0})])
def test_encoders_run_again_for_all_rows_as_for_each(
    kind: type[Strategy], options: dict[str, float], backbone: str, shown: str
) -> None:
    class Alone(kind):  # type: ignore[misc, valid-type]
        batching: ClassVar[Any] = "loop"

        def select(self, view: View) -> Selection:
            selection: Selection = super().select(view)
            return selection

    model, prompts = tiny(backbone)
    prompt = prompts[1] if shown == "pictures" else prompts[0]
    rows = [{**prompt, "pixel_values": prompt["pixel_values"].roll(b, -1)} for b in range(3)]
    inputs = batched([clip_of(row) for row in rows] if shown == "clip" else rows)
    found = []
    for strategy in (kind(**options), Alone(**options)):
        with tokenbench.pruned(model, strategy, "1/2") as pruning:
            output = logits(generate(model, inputs, tokens=2))
        found.append((output, [row.kept for row in pruning.rows], [row.encoder_positions for row in pruning.rows]))
        assert {way for row in pruning.rows for way in row.ways} == {strategy.batching}
    (together, kept, positions), (apart, same, likewise) = found
    assert kept == same
    assert positions == likewise
    torch.testing.assert_close(together, apart, atol=5e-5, rtol=1e-4)
    assert not torch.equal(together[:, 0], together[:, 1])


def test_a_subclass_does_not_inherit_that_its_code_takes_stacked_rows() -> None:
    class Own(DivPrune):
        def select(self, view: View) -> Selection:
            norms = view.hidden[0].norm(dim=1)  # of rows of tokens, if it were given those
            return Selection(top(norms, view.k))

    class Same(DivPrune):
        batching: ClassVar[Any] = "loop"

    assert [row.ways for row in run(Own())] == [["vmap"]] * 3
    assert [row.ways for row in run(Same())] == [["loop"]] * 3


def test_code_that_looks_at_numbers_runs_row_by_row_and_is_not_tried_again() -> None:
    calls: list[int] = []

    class Looks(Steps):
        def score(self, view: View) -> Tensor:
            calls.append(view.n)
            score = super().score(view)
            return score if float(score.sum()) > 0 else -score

    model, _ = tiny("llava")
    with tokenbench.pruned(model, Looks(), "1/2") as pruning:
        for _ in range(2):
            generate(model, like_rows(3), tokens=1)
    assert [row.ways for rows in pruning.prefills for row in rows] == [["loop"]] * 6
    assert len(calls) == 1 + 3 + 3


def test_what_a_strategy_remembers_is_every_rows_own() -> None:
    class Remembers(Steps):
        def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
            return [(2, 0.9), (3, budget.keep)]

        def score(self, view: View) -> Tensor:
            if view.index == 0:
                return super().score(view)
            # The row's own sum turns the order of its tokens around, or does not.
            return view.alive * view.memo["seen"].sign()

    rows = run(Remembers(), 6)
    assert [row.ways for row in rows] == [["vmap", "vmap"]] * 6
    alone = [run(Remembers(), 6)[b].kept for b in range(6)]
    assert [row.kept for row in rows] == alone
    assert len({row.kept[0] for row in rows}) > 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda keep, n: keep.new_full(keep.shape, n + 5), "distinct indices below"),
        (lambda keep, n: keep - n, "distinct indices below"),
        (lambda keep, n: keep * 0, "distinct indices below"),
    ],
)
def test_wrong_numbers_in_one_row_are_refused_and_the_row_is_named(wrong: Any, message: str) -> None:
    class Wrong(Steps):
        def select(self, view: View) -> Selection:
            keep, mean = super().select(view).keep, view.hidden[0].mean()
            return Selection(torch.where(mean == high, wrong(keep, view.n), keep))

    high = means_of_rows()[2]
    with pytest.raises(StrategyError, match=message) as caught:
        run(Wrong())
    assert caught.value.row == 2


def test_an_error_in_the_strategys_own_code_names_the_row() -> None:
    class Fails(Steps):
        def score(self, view: View) -> Tensor:
            score = super().score(view)
            if float(view.hidden[0].mean()) == high:
                raise ValueError("no such row")
            return score

    high = means_of_rows()[1]
    with pytest.raises(StrategyError, match="ValueError: no such row") as caught:
        run(Fails())
    assert caught.value.row == 1


def test_signals_of_a_later_stage_are_those_of_the_tokens_that_are_left() -> None:
    asked = Signal("cls")
    seen: list[tuple[Tensor, Tensor]] = []

    class Twice(Strategy):
        batching = "loop"

        def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
            return [(0, 0.75), (2, budget.keep)]

        def stage(self, layer: int, keep: Keep, index: int) -> Stage:
            return Stage(layer, keep, signals=(asked,))

        def score(self, view: View) -> Tensor:
            seen.append((view.alive.clone(), view.signals[asked].clone()))
            return (view.alive * 7 % 5).float()

    run(Twice(), rows=1)
    (every, whole), (left, own) = seen
    assert len(left) < len(every)
    assert whole.unique().numel() > 1
    assert torch.equal(own, whole[left])
