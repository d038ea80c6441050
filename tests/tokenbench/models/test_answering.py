"""Rows leave a batch once their answers are finished, and every answer is the stock model's."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch

import tokenbench
from tests.tiny import FEW, tiny
from tokenbench.models.answering import decode
from tokenbench.testing import batched

LIMITS = [2, 6, 1, 4]


def answer(model: Any, inputs: dict[str, Any], limits: list[int], ends: list[int]) -> tuple[list[list[int]], list[int]]:
    """The new tokens of each row, and how many rows every forward had."""
    rows: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    try:
        new = model.generate(
            **inputs,
            custom_generate=partial(decode, limits=limits),
            do_sample=False,
            max_new_tokens=max(limits),
            eos_token_id=ends,
        )
    finally:
        hook.remove()
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
