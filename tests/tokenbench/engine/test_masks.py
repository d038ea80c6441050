"""Strategies that answer with masks, whose rows keep unlike many tokens, run for all rows at once; nobody can tell from the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import tokenbench
from benchmarks.launches import prefill
from tests.tiny import tiny
from tests.tokenbench.engine.test_replay import ask
from tests.tokenbench.engine.test_shared_prefix import questions
from tests.tokenbench.engine.test_stacking import like_rows
from tokenbench import Budget, Keep, Selection, Stage, Strategy, View
from tokenbench.engine import RowPlan, RowTrace, replay
from tokenbench.errors import StrategyError
from tokenbench.registry.composition import compose
from tokenbench.testing import batched, check_strategy, generate, logits
from tokenbench_strategies.merge import Matching

NAN = float("nan")


class Masked(Strategy):
    """Keeps tokens by the sum of some channels, which is another number of them in every sample."""

    at: tuple[int, ...] = (1,)
    channel: int = 0
    share: float = 0.5
    merging: bool = False
    ordered: bool = False
    at_most: bool = False
    fixed: bool = False

    @property
    def positions(self) -> Literal["original", "compact"]:  # type: ignore[override]
        return "compact" if self.ordered else "original"

    @property
    def merges(self) -> bool:  # type: ignore[override]
        return self.merging

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        return [(layer, 0.99 if self.at_most else 0.5 if self.fixed else None) for layer in self.at]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        return Stage(layer, keep, hidden=(layer,), at_most=self.at_most)

    def select(self, view: View) -> Selection:
        sums = view.hidden[view.stage.layer][..., self.channel + view.index :: 5].sum(-1)
        low, high = sums.amin(-1, keepdim=True), sums.amax(-1, keepdim=True)
        mask = (sums - low) / (high - low) >= self.share
        if self.fixed:
            mask = sums >= sums.sort(dim=-1, descending=True).values[..., view.k - 1 : view.k]
        states = view.hidden[view.stage.layer] * 1.5
        values = states.masked_fill(~mask.unsqueeze(-1), NAN) if self.merging else None  # nobody reads the dropped ones
        return Selection(mask, values, order=-sums if self.ordered else None)


class Stacked(Masked):
    batching = "stacked"

    def select(self, view: View) -> Selection:
        return super().select(view)


class Looped(Masked):
    batching = "loop"

    def select(self, view: View) -> Selection:
        return super().select(view)


class Indexed(Masked):
    """The same choice by indices, row by row."""

    batching = "loop"

    def select(self, view: View) -> Selection:
        found = super().select(view)
        keep = found.keep.nonzero().flatten()
        if found.order is not None:
            keep = keep[found.order[keep].argsort(stable=True)]
        return Selection(keep, None if found.values is None else found.values[keep])


FORMS: dict[str, dict[str, Any]] = {
    "dropping": {},
    "merging": {"merging": True},
    "in another order": {"at": (0,), "ordered": True},
    "merging in another order": {"at": (0,), "ordered": True, "merging": True},
    "at most": {"at_most": True},
    "of a fixed count": {"fixed": True, "merging": True},
    "twice": {"at": (0, 2), "merging": True},
    "renumbered later": {"at": (0, 2), "ordered": True, "merging": True},
}


def run(strategy: Strategy, inputs: Any, tokens: int = 2) -> tuple[Tensor, list[RowTrace]]:
    model, _ = tiny("llava")
    with tokenbench.pruned(model, strategy, "1/2") as pruning:
        output = logits(generate(model, inputs, tokens=tokens))
    return output, pruning.rows


def padded() -> Any:
    """Rows whose questions are unlike in length, the shorter ones padded on the left."""
    _, (prompt, *_) = tiny("llava")
    rows = questions(prompt, 1, 3, 1, 2)
    return batched([{**row, "pixel_values": row["pixel_values"].roll(5 * b, -1)} for b, row in enumerate(rows)])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [Masked, Stacked, Looped])
def test_a_mask_keeps_what_indices_keep(kind: type[Masked], form: str) -> None:
    for inputs in (like_rows(4), padded()):
        (found, rows), (expected, alone) = (run(one(**FORMS[form]), inputs) for one in (kind, Indexed))
        assert [[(at, kept.tolist()) for at, kept in row.stages] for row in rows] == [
            [(at, kept.tolist()) for at, kept in row.stages] for row in alone
        ]
        assert [row.cache_lengths for row in rows] == [row.cache_lengths for row in alone]
        assert torch.equal(found, expected)
        assert {row.ways[0] for row in rows} == {kind.batching}
        unlike = len({len(row.kept) for row in rows}) > 1
        assert unlike != FORMS[form].get("fixed", False)


@given(
    st.integers(0, 30),
    st.floats(0, 1),
    st.lists(st.integers(0, 5), min_size=1, max_size=2, unique=True).map(sorted),
    st.lists(st.integers(0, 4), min_size=2, max_size=5),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=8)
def test_any_mask_gives_the_same_in_every_way(
    channel: int, share: float, at: list[int], lengths: list[int], merging: bool, ordered: bool
) -> None:
    _, (prompt, *_) = tiny("llava")
    rows = [questions(prompt, extra)[0] if extra else prompt for extra in lengths]
    inputs = batched([{**row, "pixel_values": row["pixel_values"].roll(3 * b, -1)} for b, row in enumerate(rows)])
    form = {"channel": channel, "share": share, "at": tuple(at), "merging": merging, "ordered": ordered}
    expected, alone = run(Indexed(**form), inputs)
    for kind in (Masked, Stacked, Looped):
        found, own = run(kind(**form), inputs)
        assert torch.equal(found, expected)
        for row, other in zip(own, alone, strict=True):
            assert [kept.tolist() for _, kept in row.stages] == [kept.tolist() for _, kept in other.stages]
            assert (row.cache_lengths, row.merged) == (other.cache_lengths, other.merged)


def test_padded_rows_get_a_mask_that_no_layer_has_to_convert() -> None:
    model, _ = tiny("llava")
    layer, seen = model.base_model.language_model.layers[3].self_attn, list[Tensor]()
    hook = layer.register_forward_pre_hook(
        lambda _, args, given: seen.append(given["attention_mask"]), with_kwargs=True
    )
    for inputs in (like_rows(4), padded()):
        run(Masked(), inputs, tokens=1)
    hook.remove()
    for mask in seen:
        assert mask.dtype == torch.float32
        assert mask.unique().tolist() == [-torch.inf, 0]


@pytest.mark.parametrize("form", [{}, {"at": (0,), "ordered": True}])
def test_unlike_counts_cost_one_look(form: dict[str, Any]) -> None:
    model, _ = tiny("llava")

    def added(rows: int) -> tuple[int, int]:
        strategies = (Masked(merging=True, **form), Masked(merging=True, fixed=True, **form))
        found, fixed = (prefill(model, like_rows(rows), strategy, "1/2") for strategy in strategies)
        return found.operators.total() - fixed.operators.total(), found.looks.total() - fixed.looks.total()

    (_, looks), (four, more), (eight, most) = (added(rows) for rows in (1, 4, 8))
    assert looks == more == most == 1
    assert four == eight <= 40  # which shorter rows cost that are padded


class Wrong(Masked):
    """Breaks the contract in one row."""

    mean: float
    how: str

    def select(self, view: View) -> Selection:
        found = super().select(view)
        wrong = view.hidden[view.stage.layer].mean() == self.mean
        if self.how == "nan":
            assert found.values is not None
            return Selection(found.keep, torch.where(wrong, NAN, found.values))
        return Selection(torch.where(wrong, self.how == "all", found.keep))


@pytest.mark.parametrize(
    ("form", "how", "problem"),
    [
        ({}, "none", "no token was kept"),
        ({"fixed": True}, "none", "0 tokens were kept instead of 8"),
        ({"fixed": True}, "all", "16 tokens were kept instead of 8"),
        ({"at_most": True}, "all", "16 tokens were kept instead of 15"),
        ({"merging": True}, "nan", "values are NaN"),
        ({"merging": True, "fixed": True}, "nan", "values are NaN"),
    ],
)
@pytest.mark.parametrize("rows", [1, 4])
def test_a_wrong_count_names_the_row(form: dict[str, Any], how: str, problem: str, rows: int) -> None:
    means: list[float] = []

    class See(Indexed):
        def select(self, view: View) -> Selection:
            means.append(float(view.hidden[view.stage.layer].mean()))
            return super().select(view)

    run(See(), like_rows(rows))
    with pytest.raises(StrategyError, match=f"stage before layer 1: {problem}") as caught:
        run(Wrong(mean=means[-1], how=how, **form), like_rows(rows))
    assert caught.value.row == rows - 1


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda n: Selection(torch.ones(n + 1, dtype=torch.bool)), r"a mask must be \[16\], not \[17\]"),
        (lambda n: Selection(torch.ones(n, dtype=torch.bool), torch.zeros(4, 32)), r"values must be \[16, 32\]"),
        (lambda n: Selection(torch.ones(n, dtype=torch.bool), order=torch.zeros(4)), r"order must be \[16\]"),
        (lambda n: Selection(torch.arange(4), order=torch.zeros(n)), "go with a mask"),
    ],
)
def test_a_mask_of_the_wrong_form_is_refused(answer: Any, problem: str) -> None:
    class Broken(Masked):
        def select(self, view: View) -> Selection:
            return answer(view.n)  # type: ignore[no-any-return]

    for rows in (1, 3):
        with pytest.raises(StrategyError, match=problem):
            run(Broken(), like_rows(rows))


@pytest.mark.parametrize("form", ["merging", "merging in another order", "twice"])
def test_rows_that_begin_alike_share_a_mask(form: str) -> None:
    model, (first, *_) = tiny("llava")
    second = {**first, "pixel_values": first["pixel_values"].roll(5, -1)}
    rows = [*questions(second, 1), *questions(first, 1, 4), *questions(second, 2, 3)]
    plan = RowPlan.make(Masked(**FORMS[form]), Budget.parse("1/2"), 6)
    plans = [plan.of(str(b)) for b in range(len(rows))]
    (together, traces), (apart, own) = (ask(model, plans, rows, first_alike=a) for a in ([0, 1, 1, 0, 0], ()))
    torch.testing.assert_close(logits(together), logits(apart), atol=5e-5, rtol=1e-4)
    assert [[kept.tolist() for _, kept in row.stages] for row in traces] == [
        [kept.tolist() for _, kept in row.stages] for row in own
    ]
    assert len({len(row.kept) for row in traces}) == 2


def test_a_trace_remembers_the_kept_tokens_alone() -> None:
    model, (prompt, *_) = tiny("llava")
    rows = [{**prompt, "pixel_values": prompt["pixel_values"].roll(b, -1)} for b in range(3)]
    plan = RowPlan.make(Masked(merging=True), Budget.parse("1/2"), 6)
    plans = [plan.of(str(b)) for b in range(len(rows))]
    first, traces = ask(model, plans, rows, remember=True)
    for row in traces:
        (values,) = row.values
        assert values is not None
        assert values.shape == (len(row.kept), 32)
        assert values.isfinite().all()
    again, _ = ask(model, [replay(plan, row, str(b)) for b, row in enumerate(traces)], rows)
    torch.testing.assert_close(logits(again), logits(first), atol=5e-5, rtol=1e-4)


def test_a_merger_takes_a_mask() -> None:
    (found, rows), (expected, alone) = (
        run(compose("masked+merge", one(fixed=True), None, Matching()), like_rows(4)) for one in (Masked, Indexed)
    )
    assert torch.equal(found, expected)
    assert [row.kept for row in rows] == [row.kept for row in alone]
    assert all(row.merged for row in rows)


@pytest.mark.parametrize(
    "backbone",
    ["llava", pytest.param("qwen2.5-vl", marks=pytest.mark.slow), pytest.param("internvl", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("form", ["dropping", "in another order", "merging in another order", "renumbered later"])
def test_masks_keep_the_contract(form: str, backbone: str) -> None:
    check_strategy(Masked(**FORMS[form]), tiny(backbone))
