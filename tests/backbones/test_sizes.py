"""Sizes from stock configurations: they must give torch's own count of FLOPs, and the published numbers of parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForImageTextToText,
    CLIPVisionConfig,
    LlavaConfig,
    OPTConfig,
    SiglipVisionConfig,
)

from tests.tiny import BACKBONES, tiny
from tokenbench import Backbone, Grid, UsageError, pruned
from tokenbench.contract.sizes import ModelSize
from tokenbench.cost.macs import decode_macs, encoder_macs, flops, prefill_macs
from tokenbench.engine import RowTrace
from tokenbench.models.source import configuration
from tokenbench.registry.plugins import registry
from tokenbench.testing import Prompt

PUBLISHED = {
    "gemma-3-12b": (12_187_325_040, (Grid(1, 16, 16),)),
    "gemma-3-4b": (4_300_079_472, (Grid(1, 16, 16),)),
    "glm-4.1v-9b": (10.29e9, (Grid(1, 37, 37),)),
    "internvl2.5-8b": (8.08e9, (Grid(1, 16, 16),)),
    "internvl3.5-8b": (8_528_318_464, (Grid(1, 16, 16),)),
    "llava-1.5-7b": (7.06e9, (Grid(1, 24, 24),)),
    "llava-1.5-13b": (13.35e9, (Grid(1, 24, 24),)),
    "llava-next-7b": (7_063_431_168, (Grid(1, 24, 24), Grid(1, 48, 48, row_end_tokens=1, inputs=4))),
    "llava-onevision-7b": (8_030_348_832, (Grid(1, 27, 27), Grid(1, 54, 54, row_end_tokens=1, inputs=4))),
    "qwen2-vl-7b": (8.29e9, (Grid(1, 37, 37),)),
    "qwen2.5-vl-3b": (3_754_622_976, (Grid(1, 37, 37),)),
    "qwen2.5-vl-7b": (8.29e9, (Grid(1, 37, 37),)),
    "qwen3-vl-2b": (2_127_532_032, (Grid(1, 32, 32),)),
    "qwen3-vl-30b-a3b": (31_070_754_032, (Grid(1, 32, 32),)),
    "qwen3-vl-4b": (4_437_815_808, (Grid(1, 32, 32),)),
    "qwen3-vl-8b": (8.77e9, (Grid(1, 32, 32),)),
    "smolvlm-2.2b": (2_246_272_880, (Grid(1, 9, 9),)),
    "smolvlm-256m": (256_484_928, (Grid(1, 8, 8),)),
    "smolvlm-500m": (507_482_304, (Grid(1, 8, 8),)),
    "video-llava-7b": (7.37e9, (Grid(8, 16, 16, 1),)),
}


@pytest.fixture(params=[(name, row) for name in BACKBONES for row in range(3)], ids=lambda p: f"{p[0]}-{p[1]}")
def case(request: pytest.FixtureRequest) -> tuple[Backbone, Any, Prompt, ModelSize]:
    """Adapter, tiny model, one of its prompts, and its size."""
    name, row = request.param
    backbone = registry().get("backbones", name)()
    model, prompts = tiny(name)
    return backbone, model, prompts[row], backbone.size(model.config)


def counted(run: Callable[[], object]) -> int:
    """FLOPs of the matrix products and convolutions that torch runs."""
    # Some versions of torch do not count its fused attention on a CPU: attention as two matrix products is counted by all.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return int(counter.get_total_flops())


def traced(model: Any, prompt: Prompt, strategy: str, budget: str = "1/3") -> tuple[RowTrace, int]:
    """What a prefill decided, and its FLOPs."""
    with pruned(model, strategy, budget) as pruning:
        total = counted(lambda: model.generate(**prompt, max_new_tokens=1, do_sample=False))
    (row,) = pruning.rows
    return row, total


def test_prefill_is_what_torch_counts(case: tuple[Backbone, Any, Prompt, ModelSize]) -> None:
    """Exactly: encoder, projector, decoder and head. What the counter leaves out, the model leaves out."""
    _, model, prompt, size = case
    row, total = traced(model, prompt, "vanilla")
    assert total == flops(
        encoder_macs(size.encoder, row.grids) + prefill_macs(size.decoder, row.tokens_per_layer, row.text)
    )


def test_pruned_prefill_is_what_torch_counts(case: tuple[Backbone, Any, Prompt, ModelSize]) -> None:
    """Exactly, for a strategy that computes nothing itself."""
    _, model, prompt, size = case
    row, total = traced(model, prompt, "random")
    assert row.mean_tokens < row.visual
    assert total == flops(
        encoder_macs(size.encoder, row.grids) + prefill_macs(size.decoder, row.tokens_per_layer, row.text)
    )


def test_encoder_is_what_torch_counts(case: tuple[Backbone, Any, Prompt, ModelSize]) -> None:
    backbone, model, prompt, size = case
    inputs = {name: value for name, value in prompt.items() if name.startswith(("pixel_values", "image_grid"))}
    row, _ = traced(model, prompt, "vanilla")
    assert counted(lambda: backbone.encode_images(model, inputs)) == flops(encoder_macs(size.encoder, row.grids))


def test_decode_step_is_what_torch_counts(case: tuple[Backbone, Any, Prompt, ModelSize]) -> None:
    _, model, prompt, size = case
    with torch.no_grad():
        cache = model(**prompt).past_key_values
    length = prompt["input_ids"].shape[1]
    step = counted(lambda: model(input_ids=torch.tensor([[5]]), past_key_values=cache))
    assert step == flops(decode_macs(size.decoder, [length] * size.decoder.layers))


def test_head_of_its_own_width_is_counted() -> None:
    """Qwen3-VL's heads need not add up to the model's width."""
    model, _ = tiny("qwen3-vl")
    config = type(model.config)(**model.config.to_dict())
    config.text_config.head_dim = 16
    decoder = registry().get("backbones", "qwen3-vl")().size(config).decoder
    assert (decoder.width, decoder.query_width, decoder.kv_width) == (32, 64, 32)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_are_the_published_model(name: str) -> None:
    """The stock model built from them has as many parameters as the published weights, and torch counts its decoder alike."""
    parameters, lattices = PUBLISHED[name]
    backbone, config = configuration(name, registry())
    size = backbone.size(config).decoder
    with torch.device("meta"):  # shapes without numbers
        model = AutoModelForImageTextToText.from_config(config)
        states, mask = torch.empty(1, 626, size.width), torch.empty(1, 1, 626, 626)
        run = partial(backbone.decoder(model), inputs_embeds=states, attention_mask=mask, use_cache=False)
        total = None if "moe" in config.model_type else counted(run)  # torch does not count grouped products
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(parameters, rel=1e-3)
    assert total in (None, flops(prefill_macs(replace(size, vocabulary=0), [576] * size.layers, 50)))
    assert backbone.default_grids(config) == lattices


def test_every_published_model_has_its_sizes() -> None:
    known = registry()
    models = [name for name in known.names("backbones") if known.get("backbones", name).source]
    assert [name for name in models if known.get("backbones", name).published] == sorted(PUBLISHED)


def test_unknown_kinds_are_refused() -> None:
    size = registry().get("backbones", "llava")().size
    with pytest.raises(UsageError, match="decoder of type 'opt'"):
        size(LlavaConfig(vision_config=CLIPVisionConfig(), text_config=OPTConfig()))
    with pytest.raises(UsageError, match="encoder of type 'siglip_vision_model'"):
        size(LlavaConfig(vision_config=SiglipVisionConfig()))
