"""What attention requests say of themselves: where they are known, and what they cost."""

from __future__ import annotations

import pytest

from tokenbench import Attn, NoQuestionAttn, OwnLayerAttn, Stage


@pytest.mark.parametrize(
    ("request_", "known"),
    [
        (Attn(-1), set()),
        (Attn(0), {1, 2, 3}),
        (Attn(2, "question"), {3}),
        (OwnLayerAttn(0), {0}),
        (OwnLayerAttn(2), {2}),
        (NoQuestionAttn(-1), set()),
        (NoQuestionAttn(1), {2, 3}),
    ],
)
def test_stages_that_can_have_it(request_: Attn, known: set[int]) -> None:
    """A layer is known after it ran; its own attention can be asked for by the stage before it alone."""
    assert {stage for stage in range(4) if request_.known_at(stage)} == known


def test_what_is_recorded_in_the_prefill_costs_nothing_and_all_else_costs_something() -> None:
    recorded, repeated, apart = Attn(2), OwnLayerAttn(2), NoQuestionAttn(2)
    assert [request.in_prefill for request in (recorded, repeated, apart)] == [True, False, False]
    assert [request.repeats_attention for request in (recorded, repeated, apart)] == [False, True, False]
    assert [request.extra_layers for request in (recorded, repeated, apart)] == [0, 0, 3]  # layers 0, 1 and 2
    assert [NoQuestionAttn(0).extra_layers, NoQuestionAttn(0).in_prefill] == [1, False]


def test_requests_of_different_kinds_are_different_keys() -> None:
    kinds = {Attn(1), OwnLayerAttn(1), NoQuestionAttn(1), Attn(1, "question"), OwnLayerAttn(1, "question")}
    assert len(kinds) == 5
    assert len({Attn(1), Attn(1, "last")}) == 1


def test_the_pass_without_the_question_has_one_query() -> None:
    assert NoQuestionAttn(1).queries == "last"
    with pytest.raises(TypeError):
        NoQuestionAttn(1, "question")  # type: ignore[call-arg]


def test_a_stage_that_asks_for_attention_looks_at_the_question() -> None:
    assert Stage(1, 4, hidden=(0,)).blind
    assert not any(Stage(1, 4, attention=(kind(0),)).blind for kind in (Attn, OwnLayerAttn, NoQuestionAttn))
