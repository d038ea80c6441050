"""The decisions of CLSE's reference code (LLaVA and Video-LLaVA branches, patched transformers 4.37.2, float32), recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import DynamicCache, LlamaConfig, LlamaModel

from tokenbench import Budget, Grid, Strategy, View
from tokenbench.engine import Layout, Pruner, RowPlan
from tokenbench.registry.plugins import registry

VIDEO: dict[str, Any] = {"clse": {"layers": (3,), "ref": 2, "kv": "keep"}, "attention": {"layers": (3,), "kv": "keep"}}
DATA = Path(__file__).parents[1] / "data"
CASES = json.loads((DATA / "golden_cases.json").read_text())
OURS = {"attn": ("attention", {}), "clse_attn": ("clse", {}), "clse": ("clse", {"score": "evolution"})}


@pytest.fixture(scope="module")
def decoder() -> LlamaModel:
    model = LlamaModel(LlamaConfig(**CASES["config"])).eval()
    model.load_state_dict(load_file(DATA / "golden_weights.safetensors"))
    return model


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(DATA / "golden_llava.npz") as images, np.load(DATA / "golden_video.npz") as videos:
        return dict(images) | dict(videos)


def run(
    decoder: LlamaModel, strategy: Strategy, embeds: Tensor, budget: str, grid: Grid
) -> tuple[Pruner, Tensor, DynamicCache]:
    """One prefill of a bare decoder; the visual tokens start at column 35."""
    visual = torch.zeros(embeds.shape[:2], dtype=torch.bool)
    visual[:, 35 : 35 + grid.tokens] = True
    cache = DynamicCache()
    plan = RowPlan.make(strategy, Budget.parse(budget), depth=32)
    with torch.no_grad(), Pruner(decoder, [plan]) as pruner:
        pruner.layout = Layout(visual, lambda *_: [(grid,)], lambda: [()])
        hidden = decoder(inputs_embeds=embeds, past_key_values=cache).last_hidden_state
    return pruner, hidden[0, -1], cache


@pytest.mark.parametrize("case", [*CASES["llava"], *CASES["video"]])
def test_decisions_equal_the_reference(case: str, decoder: LlamaModel, recorded: dict[str, Any]) -> None:
    branch, budget, kind = case.split("_", 2)
    name, parameters = OURS[kind]
    if branch == "video":
        parameters = parameters | VIDEO[name]
    scores: list[Tensor] = []
    cls = registry().get("strategies", name)

    class Recorded(cls):  # type: ignore[misc, valid-type]
        def score(self, view: View) -> Tensor:
            scores.append(super().score(view))
            return scores[-1]

    embeds = torch.tensor(recorded[f"{case}/inputs_embeds"])
    about = CASES[branch][case]
    pruner, hidden, cache = run(decoder, Recorded(**parameters), embeds, budget, Grid(*about["grid"]))
    (row,) = pruner.rows
    assert [len(kept) for _, kept in row.stages] == about["keeps"]
    assert {layer.keys.shape[2] for layer in cache.layers} == set(about["cache_lengths"])
    assert set(row.cache_lengths) == set(about["cache_lengths"])
    reference = torch.tensor(recorded[f"{case}/score_0"])
    if kind == "clse":
        # The reference ranks by the gate, which saturates: many tokens tie there, so that scores are compared.
        from tokenbench_strategies.clse import gate

        # It computes them in float32: what was recorded is 1e-5 away from the same in float64, on any other processor as far again.
        torch.testing.assert_close(gate(scores[0], 0.1).float(), reference, atol=2e-5, rtol=0)
        return
    torch.testing.assert_close(scores[0].float(), reference, atol=1e-5, rtol=0)
    for j, (_, kept) in enumerate(row.stages):
        assert kept.tolist() == recorded[f"{case}/kept_{j}"].tolist()
    torch.testing.assert_close(hidden, torch.tensor(recorded[f"{case}/last_hidden"]), atol=1e-4, rtol=0)
