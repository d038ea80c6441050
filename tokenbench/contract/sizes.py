"""The sizes of a model that decide what it computes and stores."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DecoderSize", "EncoderSize", "ModelSize"]


@dataclass(frozen=True)
class DecoderSize:
    """Sizes of a decoder."""

    layers: int
    """Decoder layers."""
    width: int
    """Channels of the hidden states."""
    query_width: int
    """Channels of all query heads together."""
    kv_width: int
    """Channels of all key (or value) heads together."""
    mlp_width: int
    """Channels inside the MLP."""
    mlp_matrices: int
    """3 for a gated MLP (SwiGLU), else 2. Papers that follow FastV count 2 for SwiGLU, too."""
    vocabulary: int
    """Entries of the output head."""


@dataclass(frozen=True)
class EncoderSize:
    """Sizes of a vision transformer and of what projects its output."""

    layers: int
    """Layers that run, whether or not the decoder reads them."""
    width: int
    """Channels of the hidden states."""
    mlp_width: int
    """Channels inside the MLP."""
    mlp_matrices: int
    """3 for a gated MLP, else 2."""
    patch: int
    """Numbers in one patch (channels x frames x height x width)."""
    projector: int
    """Multiply-accumulates of the projector for one visual token."""
    merge: int = 1
    """Each visual token stands for `merge` x `merge` patches."""
    num_prefix_tokens: int = 0
    """Tokens that the encoder puts before the patches of a frame ([CLS]), whether or not the decoder sees them."""
    tile: int = 0
    """Patches along each side of an input, if a lattice may be made of several, its tiles without their padding; 0 if it
    is one input."""
    windowed: int = 0
    """How many of the layers attend within windows only."""
    window: int = 1
    """Each window has `window` x `window` patches."""


@dataclass(frozen=True)
class ModelSize:
    """Sizes of a backbone."""

    decoder: DecoderSize
    """Its decoder."""
    encoder: EncoderSize
    """Its vision encoder, with the projector."""
