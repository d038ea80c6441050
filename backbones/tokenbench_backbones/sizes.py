"""Sizes of every architecture, as its stock configuration states them.

Each raises UsageError for a decoder or encoder of a kind whose cost is not known.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

from tokenbench import UsageError
from tokenbench.contract.sizes import DecoderSize, EncoderSize, ModelSize

__all__ = [
    "GATED",
    "PLAIN",
    "internvl",
    "llava",
    "qwen2_5_vl",
    "qwen2_5_vl_encoder",
    "qwen2_vl",
    "qwen3_vl",
    "qwen3_vl_encoder",
]

GATED, PLAIN = 3, 2
"""Matrices of an MLP."""
DECODERS = ("llama", "mistral", "qwen2", "qwen2_5_vl_text", "qwen2_vl_text", "qwen3", "qwen3_vl_text")


def llava(config: Any) -> ModelSize:
    """All layers of the CLIP tower run, although the projector reads one before the last."""
    vision, decoder = config.vision_config, _decoder(config.text_config)
    if vision.model_type != "clip_vision_model":
        raise UsageError(f"the cost of an encoder of type '{vision.model_type}' is unknown", "supported: CLIP")
    read = 1 if isinstance(config.vision_feature_layer, int) else len(config.vision_feature_layer)
    encoder = EncoderSize(
        layers=vision.num_hidden_layers,
        width=vision.hidden_size,
        mlp_width=vision.intermediate_size,
        mlp_matrices=PLAIN,
        patch=vision.num_channels * vision.patch_size**2,
        num_prefix_tokens=1,
        projector=_mlp(read * vision.hidden_size, decoder.width, decoder.width),
    )
    return ModelSize(decoder, encoder)


def internvl(config: Any) -> ModelSize:
    """Pixel shuffle puts squares of patches into one visual token."""
    vision, decoder = config.vision_config, _decoder(config.text_config)
    merge = int(1 / config.downsample_ratio)
    encoder = EncoderSize(
        layers=vision.num_hidden_layers,
        width=vision.hidden_size,
        mlp_width=vision.intermediate_size,
        mlp_matrices=PLAIN,
        patch=vision.num_channels * prod(vision.patch_size),
        merge=merge,
        num_prefix_tokens=1,
        projector=_mlp(vision.hidden_size * merge**2, decoder.width, decoder.width),
    )
    return ModelSize(decoder, encoder)


def qwen2_vl(config: Any) -> ModelSize:
    """A patch spans several frames; an image is shown as often."""
    vision = config.vision_config
    encoder = _qwen_encoder(vision, vision.embed_dim, int(vision.embed_dim * vision.mlp_ratio), vision.hidden_size)
    return ModelSize(_decoder(config.text_config), encoder)


def qwen2_5_vl(config: Any) -> ModelSize:
    """The decoder is a Qwen2."""
    return ModelSize(_decoder(config.text_config), qwen2_5_vl_encoder(config))


def qwen2_5_vl_encoder(config: Any) -> EncoderSize:
    """A gated MLP, and windows in most layers."""
    vision = config.vision_config
    return replace(
        _qwen_encoder(vision, vision.hidden_size, vision.intermediate_size, vision.out_hidden_size),
        mlp_matrices=GATED,
        windowed=vision.depth - len(vision.fullatt_block_indexes),
        window=vision.window_size // vision.patch_size // vision.spatial_merge_size * vision.spatial_merge_size,
    )


def qwen3_vl(config: Any) -> ModelSize:
    """The decoder is a Qwen3."""
    return ModelSize(_decoder(config.text_config), qwen3_vl_encoder(config))


def qwen3_vl_encoder(config: Any) -> EncoderSize:
    """A merger for the last layer and one more for each depth of deepstack; Qwen3.5 has no deepstack."""
    vision = config.vision_config
    encoder = _qwen_encoder(vision, vision.hidden_size, vision.intermediate_size, vision.out_hidden_size)
    mergers = 1 + len(getattr(vision, "deepstack_visual_indexes", ()))
    return replace(encoder, projector=mergers * encoder.projector)


def _decoder(text: Any) -> DecoderSize:
    """Llama and Qwen: grouped-query attention, a gated MLP."""
    if text.model_type not in DECODERS:
        raise UsageError(
            f"the cost of a decoder of type '{text.model_type}' is unknown", f"supported: {', '.join(DECODERS)}"
        )
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return DecoderSize(
        layers=text.num_hidden_layers,
        width=text.hidden_size,
        query_width=text.num_attention_heads * head,
        kv_width=text.num_key_value_heads * head,
        mlp_width=text.intermediate_size,
        mlp_matrices=GATED,
        vocabulary=text.vocab_size,
    )


def _qwen_encoder(vision: Any, width: int, mlp_width: int, out: int) -> EncoderSize:
    """What the generations share; `out` is the decoder's width."""
    merge = vision.spatial_merge_size
    return EncoderSize(
        layers=vision.depth,
        width=width,
        mlp_width=mlp_width,
        mlp_matrices=PLAIN,
        patch=vision.in_channels * vision.temporal_patch_size * vision.patch_size**2,
        merge=merge,
        projector=_mlp(width * merge**2, width * merge**2, out),
    )


def _mlp(inner: int, hidden: int, out: int) -> int:
    """Multiply-accumulates of two linear layers for one token."""
    return inner * hidden + hidden * out
