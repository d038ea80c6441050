"""How much memory is free, and how much a row of a batch takes."""

from __future__ import annotations

from collections.abc import Sequence

import psutil
import torch

from tokenbench.contract.sizes import DecoderSize
from tokenbench.cost.macs import cache_bytes

__all__ = ["free_bytes", "row_bytes"]

_COPIES = 8
"""The number of copies of a layer's widest states that exist at the same time: embeddings, residual, norms, projections."""


def free_bytes(device: str) -> int:
    """Return the free memory of a device in bytes. Memory that torch keeps for reuse counts as free."""
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + kept)
    return int(psutil.virtual_memory().available)


def row_bytes(size: DecoderSize, prompt: int, tokens: Sequence[float], number: int) -> float:
    """Return the largest memory of one row's prefill in bytes: its KV cache, and the states of one layer.

    Args:
        size: The sizes of the decoder.
        prompt: The number of tokens of the row's prompt.
        tokens: The number of tokens in every layer.
        number: The size of a number in bytes.
    """
    states = prompt * (_COPIES * size.width + 2 * size.mlp_width) * number
    return cache_bytes(size, tokens, number) + states
