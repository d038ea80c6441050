"""How much memory there is, and how much a row of a batch takes."""

from __future__ import annotations

import psutil
import torch

from tokenbench.contract.sizes import DecoderSize
from tokenbench.cost.macs import cache_bytes

__all__ = ["free_bytes", "row_bytes"]

_COPIES = 8  # of a layer's widest states that live at the same time: embeddings, residual, norms, projections


def free_bytes(device: str) -> int:
    """Free memory of a device; what torch keeps for reuse counts as free."""
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + kept)
    return int(psutil.virtual_memory().available)


def row_bytes(size: DecoderSize, tokens: int, number: int) -> float:
    """Bytes that one row of so many tokens takes at the most: its KV cache in all layers, and the states of one layer."""
    states = tokens * (_COPIES * size.width + 2 * size.mlp_width) * number
    return cache_bytes(size, [tokens] * size.layers, number) + states
