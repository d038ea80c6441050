"""What a model computes and stores, from its sizes alone: multiply-accumulates and bytes of KV cache.

Counted are the matrix products: projections, scores and values of attention, MLPs, patch embedding, projector, head.
Norms, activations, softmax, rotary embeddings and what a strategy itself computes are not. Masks save nothing: every
query meets every key, as in stock kernels' own counts (FlopCounterMode of torch agrees). Token counts may be means.
FLOPs are not latency: a method with fewer FLOPs can be the slower one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenbench.contract.lattice import Grid
    from tokenbench.contract.sizes import DecoderSize, EncoderSize

__all__ = [
    "cache_bytes",
    "decode_macs",
    "encoder_macs",
    "flops",
    "layer_macs",
    "prefill_macs",
]


def flops(macs: float) -> float:
    """Convert multiply-accumulates to floating-point operations: two for each.

    Many papers print multiply-accumulates as FLOPs.
    """
    return 2 * macs


def layer_macs(size: DecoderSize, queries: float, keys: float) -> float:
    """Multiply-accumulates of one decoder layer that reads `queries` tokens and attends to `keys`."""
    projections = 2 * size.width * (size.query_width + size.kv_width)
    mlp = size.mlp_matrices * size.width * size.mlp_width
    return queries * (projections + mlp + 2 * keys * size.query_width)


def prefill_macs(size: DecoderSize, visual: Sequence[float], text: float) -> float:
    """Multiply-accumulates of a prefill, whose head reads the last position alone.

    Args:
        size: Sizes of the decoder.
        visual: Visual tokens that each layer computes, one number for each layer.
        text: The other tokens of the prompt.
    """
    layers = sum(layer_macs(size, tokens + text, tokens + text) for tokens in visual)
    return layers + size.width * size.vocabulary


def decode_macs(size: DecoderSize, cache: Sequence[float]) -> float:
    """Multiply-accumulates of one decode step.

    Args:
        size: Sizes of the decoder.
        cache: Tokens that each layer's KV cache holds before the step.
    """
    return sum(layer_macs(size, 1, tokens + 1) for tokens in cache) + size.width * size.vocabulary


def cache_bytes(size: DecoderSize, cache: Sequence[float], number: int) -> float:
    """Bytes of a KV cache.

    Args:
        size: Sizes of the decoder.
        cache: Tokens that each layer's cache holds.
        number: Bytes of one number.
    """
    return 2 * sum(cache) * size.kv_width * number


def encoder_macs(size: EncoderSize, grids: Iterable[Grid]) -> float:
    """Multiply-accumulates of encoding and projecting images and videos, given their lattices of visual tokens.

    A frame attends to itself alone, and so does a tile, which is encoded and projected with its padding. The sum is not a
    number where the prompt does not show how many tiles there were.
    """
    if size.tile:
        one = _frame_macs(size, size.tile, size.tile) + size.tile**2 * size.projector
        return sum(grid.t * (math.nan if grid.inputs is None else grid.inputs) * one for grid in grids)
    return sum(grid.t * _frame_macs(size, grid.h, grid.w) + grid.tokens * size.projector for grid in grids)


def _frame_macs(size: EncoderSize, h: int, w: int) -> int:
    """Multiply-accumulates of encoding one frame of h x w visual tokens."""
    rows, columns = h * size.merge, w * size.merge
    tokens = rows * columns + size.num_prefix_tokens
    each = 4 * size.width**2 + size.mlp_matrices * size.width * size.mlp_width
    pairs = (size.layers - size.windowed) * tokens**2
    pairs += size.windowed * _squares(rows, size.window) * _squares(columns, size.window)
    return size.layers * tokens * each + 2 * size.width * pairs + rows * columns * size.patch * size.width


def _squares(length: int, window: int) -> int:
    """Sum of squares of the parts of an axis cut into windows; the last may be shorter."""
    return length // window * window**2 + (length % window) ** 2
