"""Half precision: keeping everything changes no bit, and every strategy decides on float32 scores."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tokenbench
from tests.tiny import BACKBONES, STRATEGIES
from tokenbench.registry.plugins import registry
from tokenbench.testing import KeepAll, Prompt, batched, generate, logits


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", BACKBONES)
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    model, prompts = registry().get("backbones", name)().tiny()
    model.to(dtype)
    rows: list[Prompt] = [
        {key: value.to(dtype) if value.is_floating_point() else value for key, value in prompt.items()}
        for prompt in prompts
    ]
    inputs: dict[str, Any] = batched(rows)
    stock = logits(generate(model, inputs))
    with tokenbench.pruned(model, KeepAll(), "1/3"):
        assert torch.equal(logits(generate(model, inputs)), stock)
    for strategy in STRATEGIES if dtype == torch.float16 else ():  # bfloat16 is the kit's
        with tokenbench.pruned(model, strategy, "1/3", keys=["a", "b", "c"]) as pruning:
            output = generate(model, inputs, tokens=2)
        assert logits(output).isfinite().all(), strategy
        if registry().get("strategies", strategy).budgeted:  # others may find nothing to remove
            assert all(row.mean_tokens < row.visual for row in pruning.rows), strategy
