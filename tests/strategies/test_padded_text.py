"""What a strategy makes of a question with padding in front is what it makes of the question alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import pad

from tests.strategies.views import make_view, rand
from tokenbench import Budget, NoQuestionAttn, Strategy, View
from tokenbench_strategies.cdpruner import CDPruner
from tokenbench_strategies.dart import DART
from tokenbench_strategies.mmtok import MMTok
from tokenbench_strategies.priortr import PriorTR, PriorTR2F
from tokenbench_strategies.sparsevlm import SparseVLM, find_raters
from tokenbench_strategies.sparsevlm_plus import SparseVLMPlus

N, CHANNELS, HEADS = 40, 16, 4


def view_of(strategy: Strategy, words: int, seed: int) -> View:
    """What the first stage sees of random states, with a question of so many words."""
    stage = strategy.stages(32, Budget.parse("1/4").of(N))[0]
    rows = {"null": 1, "last": 1, "question": words, "question[:-1]": words - 1}
    attention = {
        ask: rand(seed + i, HEADS, 1 if isinstance(ask, NoQuestionAttn) else rows[ask.queries], N).softmax(-1)
        for i, ask in enumerate(stage.attention)
    }
    return make_view(
        stage,
        N,
        N // 4,
        hidden={depth: rand(seed + 10 + depth, N, CHANNELS) for depth in stage.hidden},
        text={depth: rand(seed + 20 + depth, words, CHANNELS) for depth in stage.text},
        keys={layer: rand(seed + 30, N, CHANNELS) for layer in stage.keys},
        text_keys={layer: rand(seed + 40, words, CHANNELS) for layer in stage.keys},
        attention=attention,
        signals={signal: rand(seed + 50, N, CHANNELS) for signal in stage.signals},
        text_positions=torch.arange(N, N + words)[None],
    )


def padded(view: View, words: int, by: int) -> View:
    """The same with zeros in front of everything that is of the text."""
    front = (0, 0, by, 0)
    return replace(
        view,
        text={depth: pad(states, front) for depth, states in view.text.items()},
        text_keys={layer: pad(keys, front) for layer, keys in view.text_keys.items()},
        attention={
            ask: pad(weights, front) if ask.queries.startswith("question") else weights
            for ask, weights in view.attention.items()
        },
        text_positions=pad(view.text_positions, (by, 0)),
        words=torch.arange(words + by) >= by,
    )


STRATEGIES = [
    SparseVLM(),
    SparseVLMPlus(heads=2),
    PriorTR(),
    PriorTR(anchor=2),
    PriorTR(last=False),
    PriorTR2F(),
    DART(pivots=2),
    CDPruner(),
    MMTok(),
]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: type(strategy).__name__)
@given(st.integers(1, 7), st.integers(1, 5), st.integers(0, 99))
def test_padding_changes_nothing(strategy: Strategy, words: int, by: int, seed: int) -> None:
    if not strategy.heeds_padding(words):
        return
    view = view_of(strategy, words, seed)
    own, other = strategy.select(view), strategy.select(padded(replace(view, memo={}), words, by))
    assert own.keep.tolist() == other.keep.tolist()
    if own.values is not None:
        torch.testing.assert_close(own.values, other.values)
    if own.score is not None:
        torch.testing.assert_close(own.score, other.score, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("strategy", [CDPruner(), MMTok()], ids=lambda strategy: type(strategy).__name__)
@given(st.integers(1, 7), st.integers(1, 5), st.integers(0, 99))
def test_padding_of_phrases_changes_nothing(strategy: Strategy, words: int, by: int, seed: int) -> None:
    view = replace(view_of(strategy, 3, seed), phrases=rand(seed + 60, words, CHANNELS))
    assert view.phrases is not None
    real = torch.arange(words + by) >= by
    other = replace(view, memo={}, phrases=pad(view.phrases, (0, 0, by, 0)), phrase_words=real)
    assert strategy.select(view).keep.tolist() == strategy.select(other).keep.tolist()


@pytest.mark.parametrize("text", [torch.ones(4, CHANNELS), rand(0, 4, CHANNELS), rand(1, 1, CHANNELS)])
def test_padding_is_no_rater(text: torch.Tensor) -> None:
    view = view_of(SparseVLM(), len(text), 0)
    view.text[0] = text
    own, other = find_raters(view), find_raters(padded(view, len(text), 3))
    assert other.tolist() == [False] * 3 + own.tolist()


def test_padding_is_no_pivot_even_where_keys_are_zero() -> None:
    view = view_of(DART(), 6, 0)
    view.text_keys = {layer: torch.zeros_like(keys) for layer, keys in view.text_keys.items()}
    view.k = 20
    assert DART().select(padded(view, 6, 2)).keep.tolist() == DART().select(view).keep.tolist()
    assert not DART().heeds_padding(3)
