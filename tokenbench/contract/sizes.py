"""The sizes of a model that decide what it computes and stores."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DecoderSize", "EncoderSize", "ModelSize"]


@dataclass(frozen=True)
class DecoderSize:
    """Sizes of a decoder.

    query_width, kv_width: of all query heads, and of all key (or value) heads, together.
    mlp_matrices: 3 for a gated MLP (SwiGLU), else 2. Papers that follow FastV count 2 for SwiGLU, too.
    """

    layers: int
    width: int
    query_width: int
    kv_width: int
    mlp_width: int
    mlp_matrices: int
    vocabulary: int


@dataclass(frozen=True)
class EncoderSize:
    """Sizes of a vision transformer and of what projects its output.

    layers: those that run, read by the decoder or not.
    patch: numbers in one patch. projector: multiply-accumulates for one visual token.
    merge: one visual token stands for `merge` x `merge` patches.
    lead: tokens the encoder sets before the patches of a frame ([CLS]), whether or not the decoder sees them.
    windowed: how many of the layers attend within windows of `window` x `window` patches only.
    """

    layers: int
    width: int
    mlp_width: int
    mlp_matrices: int
    patch: int
    projector: int
    merge: int = 1
    lead: int = 0
    windowed: int = 0
    window: int = 1


@dataclass(frozen=True)
class ModelSize:
    """Sizes of a backbone."""

    decoder: DecoderSize
    encoder: EncoderSize
