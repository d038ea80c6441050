"""Sizes read from a model's modules, which are made without weights: what decides costs where no adapter states it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tokenbench import UsageError
from tokenbench.contract.sizes import DecoderSize
from tokenbench_backbones import sizes

__all__ = ["count_matrices", "decoder_size", "skeleton"]


def skeleton(config: Any) -> Any:
    """Make a stock model without weights.

    Args:
        config: Its stock configuration.
    """
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config)


def decoder_size(decoder: Any, vocabulary: int) -> DecoderSize:
    """Read the sizes of a decoder of attention and MLPs. The router of a mixture of experts is not counted.

    Args:
        decoder: The stock decoder.
        vocabulary: Entries of the output head.

    Raises:
        UsageError: If its layers are unlike, or have matrices of other kinds.
    """
    found = {_layer_size(layer, decoder.config) for layer in decoder.layers}
    if len(found) > 1:
        raise UsageError(f"the cost of a {type(decoder).__name__} is unknown, because its layers are unlike")
    ((width, query_width, kv_width, mlp_width),) = found
    return DecoderSize(
        layers=len(decoder.layers),
        width=width,
        query_width=query_width,
        kv_width=kv_width,
        mlp_width=mlp_width,
        mlp_matrices=sizes.GATED,
        vocabulary=vocabulary,
    )


def _layer_size(layer: Any, config: Any) -> tuple[int, int, int, int]:
    """Channels of the hidden states, of the queries, of the keys, and inside the gated MLP of a decoder layer."""
    unknown = UsageError(f"the cost of a decoder layer of type {type(layer).__name__} is unknown")
    try:
        attention, mlp = layer.self_attn, layer.mlp
        width, query = attention.q_proj.in_features, attention.q_proj.out_features
        kv = attention.k_proj.out_features
        inside, mlp_matrices = _mlp_width(mlp, width, config)
    except AttributeError as error:
        raise unknown from error
    # Whatever else a layer multiplies by, such as a gate, would be missing from the count.
    if count_matrices(layer) != 2 * width * (query + kv) + mlp_matrices:
        raise unknown
    return width, query, kv, inside


def _mlp_width(mlp: Any, width: int, config: Any) -> tuple[int, int]:
    """Channels that a gated MLP computes for one token, and how many numbers its matrices hold."""
    if not hasattr(mlp, "experts"):
        inside: int = mlp.down_proj.in_features
        return inside, sizes.GATED * width * inside
    experts, router = mlp.experts, mlp.gate
    number, inside = len(experts.down_proj), experts.down_proj.shape[-1]
    assert router.weight.shape == (number, width)
    held = sizes.GATED * width * inside * number + number * width
    return inside * config.num_experts_per_tok, held


def count_matrices(module: nn.Module) -> int:
    """How many numbers the matrices of a module hold, those of all experts included.

    Args:
        module: The module.
    """
    return sum(parameter.numel() for parameter in module.parameters() if parameter.ndim > 1)
