"""Rows leave a batch once their answers are finished, and every answer is the stock model's."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch

import tokenbench
from tests.tiny import FEW, tiny
from tokenbench.engine import can_join
from tokenbench.engine.joining import JoinedCache, JoinedLayer
from tokenbench.models.answering import Answering, decode, prefill
from tokenbench.testing import batched

LIMITS = [2, 6, 1, 4]
CELLS = [("vanilla",), ("fastv", "1/2"), ("divprune", "1/2"), ("clse", "1/4"), ("random", "1/4"), ("pdrop", "1/3")]


@contextmanager
def count_rows(model: Any) -> Iterator[list[int]]:
    """How many rows every forward had."""
    rows: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    try:
        yield rows
    finally:
        hook.remove()


def begin(model: Any, inputs: dict[str, Any], limits: list[int], ends: list[int]) -> Answering:
    """The prompts, up to the first token of each answer."""
    start = partial(prefill, limits=limits)
    begun: Answering = model.generate(
        **inputs, custom_generate=start, do_sample=False, max_new_tokens=max(limits), eos_token_id=ends
    )
    return begun


def answer(model: Any, inputs: dict[str, Any], limits: list[int], ends: list[int]) -> tuple[list[list[int]], list[int]]:
    """The new tokens of each row, and how many rows every forward had."""
    with count_rows(model) as rows:
        (new,) = decode(model, [begin(model, inputs, limits, ends)])
    return new, rows


@pytest.mark.parametrize("strategy", ["vanilla", "fastv", "divprune", "clse"])
@pytest.mark.parametrize("backbone", FEW)
def test_every_row_answers_what_the_stock_loop_answers(backbone: str, strategy: str) -> None:
    model, prompts = tiny(backbone)
    inputs = batched([*prompts, *prompts][:4])
    budget = [] if strategy == "vanilla" else ["1/2"]
    with torch.inference_mode(), tokenbench.pruned(model, strategy, *budget):
        stock = model.generate(**inputs, do_sample=False, max_new_tokens=6, eos_token_id=[])
        new, rows = answer(model, inputs, LIMITS, [])
        expected = stock[:, inputs["input_ids"].shape[1] :].tolist()
        assert new == [row[:limit] for row, limit in zip(expected, LIMITS, strict=True)]
        assert rows == [4, 4, 2, 2, 1, 1]
        # What a row says first may be its end token.
        ends, rows = answer(model, inputs, [6] * 4, [row[0] for row in expected])
    assert ends == [row[:1] for row in expected]
    assert rows == [4]


def test_a_decode_step_copies_no_earlier_keys() -> None:
    model, prompts = tiny("llava")
    token = torch.tensor([[5]])
    with torch.inference_mode(), tokenbench.pruned(model, "fastv", "1/2"):
        cache = model(**prompts[0]).past_key_values
        places = []
        for _ in range(3):
            model(input_ids=token, past_key_values=cache)
            places.append([layer.keys.data_ptr() for layer in cache.layers])
    assert places[0] == places[1] == places[2]
    assert len(set(places[0])) == len(cache.layers)


def test_a_copied_cache_goes_on_by_itself() -> None:
    model, prompts = tiny("llava")
    with torch.inference_mode(), tokenbench.pruned(model, "fastv", "1/2"):
        cache = model(**prompts[0]).past_key_values
        model(input_ids=torch.tensor([[5]]), past_key_values=cache)
        other = copy.deepcopy(cache)
        first = model(input_ids=torch.tensor([[7]]), past_key_values=cache).logits
        model(input_ids=torch.tensor([[9]]), past_key_values=other)
        other.crop(-1)
        assert torch.equal(model(input_ids=torch.tensor([[7]]), past_key_values=other).logits, first)
        assert not torch.equal(model(input_ids=torch.tensor([[9]]), past_key_values=cache).logits, first)


def begin_cells(
    model: Any, inputs: dict[str, Any], cells: Sequence[Sequence[str]], limits: Sequence[list[int]] = ()
) -> list[Answering]:
    begun = []
    for cell, own in zip(cells, limits or [LIMITS] * len(cells), strict=True):
        with tokenbench.pruned(model, *cell, keys=["a", "b", "c", "d"]):
            begun.append(begin(model, inputs, own, []))
    return begun


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("backbone", FEW)
def test_cells_that_are_decoded_together_answer_as_each_does_alone(backbone: str, attention: str) -> None:
    model, prompts = tiny(backbone, attention)
    inputs = batched([*prompts, *prompts][:4])
    with torch.inference_mode():
        alone = []
        for cell in CELLS:
            begun = begin_cells(model, inputs, [cell])
            with tokenbench.pruned(model, "vanilla"):
                alone += decode(model, begun)
        begun = begin_cells(model, inputs, CELLS)
        with tokenbench.pruned(model, "vanilla"), count_rows(model) as rows:
            together = decode(model, begun)
    assert together == alone
    assert len({str(answers) for answers in alone}) > 1
    if all(can_join(batch.cache) for batch in begun):
        assert rows == [24, 12, 12, 6, 6]
    else:  # those with windows hold the stock cache of the cell that dropped nothing
        assert sum(rows) > 60


def test_a_cell_whose_answers_are_finished_leaves_the_others_alone() -> None:
    model, prompts = tiny("llava")
    inputs = batched([*prompts, *prompts][:4])
    limits = [[2] * 4, [1] * 4, [2, 6, 2, 6], [2] * 4, [6] * 4, [2] * 4]
    with torch.inference_mode():
        alone = []
        for cell, own in zip(CELLS, limits, strict=True):
            begun = begin_cells(model, inputs, [cell], [own])
            with tokenbench.pruned(model, "vanilla"):
                alone += decode(model, begun)
        begun = begin_cells(model, inputs, CELLS, limits)
        with tokenbench.pruned(model, "vanilla"), count_rows(model) as rows:
            assert decode(model, begun) == alone
    assert rows == [20, 6, 6, 6, 6]


@pytest.mark.parametrize("what", ["keys", "mask"])
def test_what_makes_keys_or_masks_of_its_own_decodes_cell_by_cell(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As architectures do that cache compressed keys, or that attend to blocks."""
    model, prompts = tiny("llava")
    inputs = batched([*prompts, *prompts][:4])
    attention = type(model.model.language_model.layers[0].self_attn)
    update, forward = JoinedLayer.update, attention.forward

    def mask(module: Any, *args: Any, attention_mask: Any, **kwargs: Any) -> Any:
        joined = any(isinstance(value, JoinedCache) for value in kwargs.values())
        return forward(module, *args, attention_mask=torch.zeros(1) if joined else attention_mask, **kwargs)

    limits = [[1, 6, 1, 1]] * len(CELLS)  # most are finished before the first step
    with torch.inference_mode():
        begun = begin_cells(model, inputs, CELLS, limits)
        with tokenbench.pruned(model, "vanilla"):
            expected = decode(model, begun)
        begun = begin_cells(model, inputs, CELLS, limits)
        if what == "keys":
            monkeypatch.setattr(JoinedLayer, "update", lambda *args, **_: [part.clone() for part in update(*args)])
        else:
            monkeypatch.setattr(attention, "forward", mask)
        with tokenbench.pruned(model, "vanilla"), count_rows(model) as rows:
            assert decode(model, begun) == expected
    assert rows == [24, *[1] * 5 * len(CELLS)]


def test_what_failed_in_the_middle_of_a_step_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompts = tiny("llava")
    inputs = batched([*prompts, *prompts][:4])
    with torch.inference_mode(), tokenbench.pruned(model, "vanilla"):
        expected = decode(model, [begin(model, inputs, LIMITS, [])])
    with torch.inference_mode():
        begun = begin_cells(model, inputs, CELLS)
        update, calls = JoinedLayer.update, []

        def fail(*args: Any, **kwargs: Any) -> Any:
            calls.append(args)
            if len(calls) == 3:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return update(*args, **kwargs)

        monkeypatch.setattr(JoinedLayer, "update", fail)
        with tokenbench.pruned(model, "vanilla"):
            with pytest.raises(torch.OutOfMemoryError):
                decode(model, begun)
            assert decode(model, [begin(model, inputs, LIMITS, [])]) == expected


def test_a_cache_that_shrinks_gives_its_memory_back() -> None:
    model, prompts = tiny("llava")
    inputs = batched([*prompts, *prompts][:4])
    with torch.inference_mode(), tokenbench.pruned(model, "clse", "1/4"):
        batch = begin(model, inputs, [6] * 4, [])
        batch.step(model, next_sequence_length=1)
        room = batch.cache.layers[0]._keys.untyped_storage().nbytes()
        batch.cache.batch_select_indices(torch.tensor([0]))
        layer = batch.cache.layers[0]
        assert layer._keys is None
        assert layer.keys.untyped_storage().nbytes() <= room / 4


def test_a_backward_pass_reads_the_keys_of_every_step() -> None:
    """Also where only queries have a gradient."""
    model, prompts = tiny("llava")
    model.requires_grad_(False)
    attention = model.model.language_model.layers[0].self_attn
    attention.q_proj.weight.requires_grad_(True)
    try:
        with tokenbench.pruned(model, "fastv", "1/2"):
            cache = model(**prompts[0]).past_key_values
            outputs = [model(input_ids=torch.tensor([[5]]), past_key_values=cache).logits for _ in range(3)]
        torch.stack(outputs).sum().backward()
        assert attention.q_proj.weight.grad is not None
    finally:
        model.requires_grad_(True)
        attention.q_proj.weight.grad = None
