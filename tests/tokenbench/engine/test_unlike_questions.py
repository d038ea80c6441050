"""Rows whose questions have unlike lengths are chosen for at once, and nobody can tell from the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import tokenbench
from benchmarks.launches import prefill
from tests.tiny import tiny
from tokenbench import Attn, Budget, Keep, Selection, Stage, Strategy, View
from tokenbench.contract.strategy import may_pad, top
from tokenbench.engine import RowTrace
from tokenbench.engine.group import Group
from tokenbench.errors import StrategyError
from tokenbench.registry.composition import compose
from tokenbench.testing import batched, generate
from tokenbench_strategies.fastv import FastV
from tokenbench_strategies.sparsevlm import SparseVLM

# The fewest words of a question that is padded.
FEWEST = {
    "sparsevlm": 1,
    "sparsevlm-plus": 1,
    "priortr": 2,
    "priortr:anchor=1": 2,
    "priortr:last=no": 3,
    "priortr-2f": 2,
    "priortr-2f:last=no": 3,
    "dart": 4,
    "dart:pivots=2": 2,
    "cdpruner": 1,
    "mmtok": 1,
    "priortr@pdrop": 2,
    "fastv@sparsevlm": 1,
}
# Tokens after the image, row by row. The last of the prompt is always one of them.
LENGTHS = {
    "unlike": (5, 9, 1, 7, 12, 3),
    "short": (2, 1, 3, 1),
    "equal": (6, 6, 6),
}


def prompts(lengths: Sequence[int], backbone: str = "llava") -> list[dict[str, Tensor]]:
    """Rows with pictures of their own and so many words after the image, and more or fewer words before it."""
    model, (one, *_) = tiny(backbone)
    ids, rows = one["input_ids"], []
    end = int((ids[0] == model.config.image_token_id).nonzero().max()) + 1
    generator = torch.Generator().manual_seed(3)
    for b, length in enumerate(lengths):
        row: dict[str, Tensor] = {}
        for name, value in one.items():
            if value.shape == ids.shape:
                before, words = value[:, :1].expand(1, b % 3), value[:, -1:].expand(1, length)
                if name == "input_ids":
                    words = torch.randint(1, 80, (1, length), generator=generator).to(ids.device)
                row[name] = torch.cat([before, value[:, :end], words], 1)
            else:
                row[name] = value.roll(b, -1) if value.is_floating_point() else value
        rows.append(row)
    return rows


def run(strategy: Any, rows: Sequence[dict[str, Tensor]], backbone: str = "llava", **asked: Any) -> list[RowTrace]:
    model, _ = tiny(backbone)
    with tokenbench.pruned(model, strategy, "1/2", keys=[str(b) for b in range(len(rows))], **asked) as pruning:
        generate(model, batched(rows), tokens=1)
    return pruning.rows


def decisions(rows: Sequence[RowTrace]) -> list[list[list[int]]]:
    return [[kept.tolist() for _, kept in row.stages] for row in rows]


def alone(strategy: Any, rows: Sequence[dict[str, Tensor]], backbone: str = "llava") -> list[RowTrace]:
    return [run(strategy, [row], backbone)[0] for row in rows]


@pytest.mark.parametrize("backbone", ["llava", pytest.param("qwen2.5-vl", marks=pytest.mark.slow)])
@pytest.mark.parametrize("lengths", ["unlike", *(pytest.param(n, marks=pytest.mark.slow) for n in ("short", "equal"))])
@pytest.mark.parametrize(("name", "fewest"), FEWEST.items())
def test_rows_together_keep_what_each_keeps_alone(name: str, fewest: int, lengths: str, backbone: str) -> None:
    # Where P is the attention of one token, PriorTR's P is its Q but for rounding.
    questions = [max(length, fewest if "priortr" in name else 1) for length in LENGTHS[lengths]]
    rows = prompts(questions, backbone)
    together = run(name, rows, backbone)
    assert decisions(together) == decisions(alone(name, rows, backbone))
    padded = [row.ways for row, length in zip(together, questions, strict=True) if length >= fewest]
    assert len(padded) == 1 or {way for ways in padded for way in ways} <= {"vmap", "stacked"}


@pytest.mark.parametrize("poison", [float("nan"), 1e30])
@pytest.mark.parametrize("name", ["sparsevlm", "sparsevlm-plus", "priortr:anchor=1", "dart:pivots=2", "cdpruner"])
def test_nothing_depends_on_what_stands_at_padding(name: str, poison: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = prompts(LENGTHS["unlike"])
    expected, blank, blanked = decisions(run(name, rows)), Group.blank, []

    def blank_poisoned(group: Group, values: Tensor, dim: int) -> Tensor:
        if group.words is not None and values.is_floating_point():
            padding = ~group.words[:, : values.shape[dim]].unflatten(1, (*[1] * (dim - 1), -1))
            padding = padding.view(*padding.shape, *[1] * (values.ndim - padding.ndim))
            blanked.append(int(padding.sum()))
            values = values.masked_fill(padding, poison)
        return blank(group, values, dim)

    monkeypatch.setattr(Group, "blank", blank_poisoned)
    assert decisions(run(name, rows)) == expected
    assert sum(blanked) > 0


class Reads(Strategy):
    """Everything that there is of the text, in stacked views; what the rows see is written down."""

    batching: ClassVar[Any] = "stacked"
    seen: ClassVar[list[View]] = []

    def heeds_padding(self, words: int) -> bool:
        return True

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        return [(2, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        asks = (Attn(0, "question"), Attn(1, "question[:-1]"), Attn(1, "null"), Attn(1))
        return Stage(layer, keep, text=(0, 2), keys=(1,), attention=asks, positions=True)

    def select(self, view: View) -> Selection:
        self.seen.append(view)
        return Selection(top(view.attention[Attn(1)].mean((-3, -2)), view.k))


def text_of(view: View) -> dict[str, tuple[Tensor, int]]:
    """What a view shows of the text and of the first word and the last one, and which dimension is the text's."""
    found = {f"text {depth}": (states, -2) for depth, states in view.text.items()}
    found |= {f"keys {layer}": (keys, -2) for layer, keys in view.text_keys.items()}
    found |= {f"attention {ask.queries}": (weights, -2) for ask, weights in view.attention.items()}
    return {**found, "positions": (view.text_positions, -1)}


def test_padded_views_show_each_row_its_own_text_behind_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reads, "seen", [])
    lengths = LENGTHS["unlike"]
    rows = prompts(lengths)
    assert {way for row in run(Reads(), rows) for way in row.ways} == {"stacked"}
    alone(Reads(), rows)
    together, *views = Reads.seen
    assert len(views) == len(rows)
    assert together.words is not None
    assert together.words.sum(1).tolist() == list(lengths)
    for b, view in enumerate(views):
        assert view.words is None
        shown = text_of(together)
        for what, (own, dim) in text_of(view).items():
            padded = shown[what][0][b]
            padding = 0 if what in ("attention null", "attention last") else max(lengths) - lengths[b]
            assert padded.shape[dim] == own.shape[dim] + padding, what
            before, text = padded.split([padding, own.shape[dim]], dim)
            assert not before.any(), what
            torch.testing.assert_close(text, own, atol=1e-4, rtol=1e-4, msg=lambda text, what=what: f"{what}: {text}")


class Alone(Reads):
    """The same, row by row."""

    batching: ClassVar[Any] = "loop"

    def heeds_padding(self, words: int) -> bool:
        return True

    def select(self, view: View) -> Selection:
        assert view.words is None
        return super().select(view)


class Inherits(Reads):
    """Code that is written for one row, beneath a class whose code is not."""

    def score(self, view: View) -> Tensor:
        assert view.words is None
        self.seen.append(view)
        return view.attention[Attn(1)].mean((0, 1))

    def select(self, view: View) -> Selection:
        return Strategy.select(self, view)


@pytest.mark.parametrize(("strategy", "ways"), [(Alone(), {"loop"}), (Inherits(), {"alone"})])
def test_no_padding_is_shown_to_code_that_does_not_heed_it(
    strategy: Strategy, ways: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reads, "seen", [])
    rows = prompts(LENGTHS["unlike"])
    together = run(strategy, rows)
    assert {way for row in together for way in row.ways} == ways
    assert [len(view.text[0]) for view in Reads.seen] == list(LENGTHS["unlike"])
    assert [view.text_positions.shape[1] for view in Reads.seen] == list(LENGTHS["unlike"])
    assert decisions(together) == decisions(alone(strategy, rows))


def test_composed_strategies_heed_padding_if_their_scorer_does() -> None:
    class Own(SparseVLM):
        def score(self, view: View) -> Tensor:
            return super().score(view)

    for scorer, heeds in ((SparseVLM(), True), (Own(), False)):
        composed = compose("x", scorer, FastV(), None)
        assert may_pad(scorer, 5) == heeds
        assert may_pad(composed, 5) == heeds
    assert not may_pad(FastV(), 5)


def test_what_was_remembered_with_padding_is_read_without_it() -> None:
    class Looks(SparseVLM):
        def heeds_padding(self, words: int) -> bool:
            return True

        def select(self, view: View) -> Selection:
            if view.index == 1:
                float(view.alive.sum())  # which cannot run together
            return super().select(view)

    rows = prompts(LENGTHS["unlike"])
    together = run(Looks(), rows)
    assert [row.ways for row in together] == [["vmap", "loop"]] * len(rows)
    assert decisions(together) == decisions(run("sparsevlm", rows))


ASKED = ("red", "What is the colour of it?", "a dog", "Is the small dog there green?", "no")


class Letters:
    """A tokenizer whose tokens are letters."""

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [ord(letter) % 32 for letter in text]}


@pytest.mark.parametrize("name", ["cdpruner", "mmtok"])
def test_rows_with_other_words_together_keep_what_each_keeps_alone(name: str) -> None:
    rows = prompts(LENGTHS["unlike"][: len(ASKED)])
    together = run(name, rows, questions=ASKED, processor=Letters())
    assert {way for row in together for way in row.ways} <= {"vmap", "stacked"}
    each = [run(name, [row], questions=[words], processor=Letters())[0] for row, words in zip(rows, ASKED, strict=True)]
    assert decisions(together) == decisions(each)
    others = ["other words", *ASKED[1:]]
    changed = decisions(run(name, rows, questions=others, processor=Letters()))
    assert changed[0] != decisions(together)[0]
    assert changed[1:] == decisions(together)[1:]
    assert decisions(together) != decisions(run(name, rows))  # which takes all text for the question


def test_phrases_are_the_embeddings_of_what_a_stage_makes_of_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    class Phrases(Reads):
        def heeds_padding(self, words: int) -> bool:
            return heeds

        def stage(self, layer: int, keep: Keep, index: int) -> Stage:
            return Stage(layer, keep, attention=(Attn(1),), phrases=str.split)

    model, _ = tiny("llava")
    table = model.get_input_embeddings().weight
    expected = [table[[ord(letter) % 32 for letter in words.replace(" ", "")]] for words in ASKED]
    rows = prompts(LENGTHS["unlike"][: len(ASKED)])
    for heeds in (True, False):
        monkeypatch.setattr(Reads, "seen", [])
        together = run(Phrases(), rows, questions=ASKED, processor=Letters())
        assert {way for row in together for way in row.ways} == {"stacked" if heeds else "alone"}
        shown: list[Tensor] = []
        for view in Reads.seen:
            assert view.phrases is not None
            assert (view.phrase_words is not None) == heeds
            if view.phrase_words is None:
                shown.append(view.phrases)
                continue
            assert not view.phrases[~view.phrase_words].any()
            shown += [states[own] for states, own in zip(view.phrases, view.phrase_words, strict=True)]
        assert all(torch.equal(own, right) for own, right in zip(shown, expected, strict=True))
    monkeypatch.setattr(Reads, "seen", [])
    run(Phrases(), rows)
    assert all(view.phrases is None for view in Reads.seen)


def test_code_row_by_row_sees_phrases_without_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    class Single(Alone):
        def stage(self, layer: int, keep: Keep, index: int) -> Stage:
            return Stage(layer, keep, attention=(Attn(1),), phrases=str.split)

    monkeypatch.setattr(Reads, "seen", [])
    together = run(Single(), prompts(LENGTHS["unlike"][: len(ASKED)]), questions=ASKED, processor=Letters())
    assert {way for row in together for way in row.ways} == {"loop"}
    counts = [None if view.phrases is None else len(view.phrases) for view in Reads.seen]
    assert counts == [len(words.replace(" ", "")) for words in ASKED]


def test_words_of_which_no_phrases_can_be_made_name_their_row() -> None:
    class Fails(Reads):
        def stage(self, layer: int, keep: Keep, index: int) -> Stage:
            return Stage(layer, keep, attention=(Attn(1),), phrases=lambda words: [words[4]])

    rows = prompts(LENGTHS["unlike"][:3])
    with pytest.raises(StrategyError, match="of 'red': IndexError") as caught:
        run(Fails(), rows, questions=["green", "a dog", "red"], processor=Letters())
    assert caught.value.row == 2


@pytest.mark.parametrize("name", ["cdpruner", "mmtok"])
def test_operators_do_not_grow_with_the_number_of_questions(name: str) -> None:
    model, _ = tiny("llava")
    inputs = batched(prompts((8, 7, 8, 7)))

    def added(*questions: str) -> int:
        asked = {"questions": questions, "processor": Letters()}
        return prefill(model, inputs, name, "1/2", **asked).operators.total()

    assert added("red", "house", "red", "house") == added("red", "house", "green dog", "coloured")


@pytest.mark.parametrize("name", ["sparsevlm", "sparsevlm-plus", "priortr", "priortr-2f", "dart", "cdpruner", "mmtok"])
def test_operators_do_not_grow_with_the_number_of_lengths(name: str) -> None:
    model, _ = tiny("llava")

    def added(lengths: Sequence[int]) -> tuple[int, int]:
        inputs = batched(prompts(lengths))
        stock, own = (prefill(model, inputs, strategy, "1/2") for strategy in (None, name))
        return own.operators.total() - stock.operators.total(), own.looks.total() - stock.looks.total()

    assert added((8, 7, 8, 7, 8, 7)) == added((8, 7, 6, 5, 4, 9))
