"""Vision encoders that Auto describes: strategies read them, and their costs are what torch counts."""

from __future__ import annotations

import pytest
import torch

import tokenbench
from tests.backbones.test_sizes import traced
from tokenbench import UsageError
from tokenbench.cost.macs import encoder_macs, flops, prefill_macs
from tokenbench_backbones.auto import Auto
from tokenbench_backbones.auto.encoders import Like
from tokenbench_backbones.auto.facts import FACTS
from tokenbench_backbones.auto.tiles import Tiles
from tokenbench_backbones.auto.towers import Tower

TOWERS = sorted(name for name, facts in FACTS.items() if isinstance(facts.encoder, Tower))
ALIKE = sorted(name for name, facts in FACTS.items() if isinstance(facts.encoder, Like))
TILED = sorted(name for name, facts in FACTS.items() if isinstance(facts.encoder, Tiles))
READERS = ("visionzip", "hired", "prumerge", "downsample", "vispruner")


def test_these_are_described() -> None:
    assert TILED == ["llava_next", "llava_next_video", "llava_onevision"]
    assert TOWERS == [
        "aya_vision",
        "cohere2_vision",
        "deepseek_vl",
        "gemma3",
        "idefics3",
        "janus",
        "paligemma",
        "shieldgemma2",
        "smolvlm",
    ]
    glm = ["glm46v", "glm4v", "glm4v_moe", "glm_ocr", "glmga"]
    qwen = ["qwen2_5_omni_thinker", "qwen3_5", "qwen3_5_moe", "qwen3_omni_moe_thinker", "qwen3_vl_moe"]
    assert glm + qwen == ALIKE


@pytest.mark.parametrize("name", TOWERS)
def test_a_picture_resized_to_its_own_size_is_the_picture(name: str) -> None:
    """The descriptor's way from pixels to tokens is that of the stock model."""
    auto = Auto(name)
    model, prompts = auto.tiny()
    (encoder,) = auto.describe_towers(model)
    pixels = prompts[0]["pixel_values"].flatten(0, -4)
    (layout, *_) = encoder.layouts(pixels)
    side = int(len(layout.tokens) ** 0.5)
    with torch.no_grad():
        stock = auto.encode_images(model, prompts[0])[0]
        torch.testing.assert_close(encoder.encode_resized(pixels[:1], side, side), stock, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", READERS)
@pytest.mark.parametrize("name", ["smolvlm", "gemma3", "qwen3_vl_moe", "llava_next", "mistral3", "glm4v", "aya_vision"])
def test_strategies_that_read_the_encoder_run(name: str, strategy: str) -> None:
    model, prompts = Auto(name).tiny()
    with torch.no_grad(), tokenbench.pruned(model, strategy, "1/3") as pruning:
        model(**prompts[1])
    (row,) = pruning.rows
    assert row.mean_tokens < row.visual


@pytest.mark.parametrize("name", [*TOWERS, *TILED, "mistral3", "glm4v", "qwen3_vl_moe"])
def test_costs_are_what_torch_counts(name: str) -> None:
    """Exactly, with and without pruning, but for the routers of experts."""
    auto = Auto(name)
    model, prompts = auto.tiny()
    size = auto.size(model.config)
    experts = getattr(model.config.text_config, "num_experts", 0)
    if experts:
        model.set_experts_implementation("eager")  # torch does not count grouped products
    for strategy in ("vanilla", "random"):
        # Of several pictures in one sequence, torch counts what a mask hides.
        row, total = traced(model, prompts[0 if name == "mistral3" else 1], strategy)
        routers = sum((tokens + row.text) * size.decoder.width * experts for tokens in row.tokens_per_layer)
        macs = encoder_macs(size.encoder, row.grids) + prefill_macs(size.decoder, row.tokens_per_layer, row.text)
        assert total == flops(macs + routers)


def test_an_unknown_decoder_has_no_cost() -> None:
    """Layers of linear attention multiply by matrices that the cost model does not know."""
    auto = Auto("qwen3_5")
    model, _ = auto.tiny()
    with pytest.raises(UsageError, match="the cost of a decoder layer of type Qwen3_5DecoderLayer is unknown"):
        auto.size(model.config)
