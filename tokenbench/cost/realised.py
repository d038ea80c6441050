"""What one prompt really cost, from the trace of the run and the sizes of the model."""

from __future__ import annotations

from collections.abc import Sequence

from tokenbench.contract.sizes import EncoderSize, ModelSize
from tokenbench.cost.macs import cache_bytes, encoder_macs, flops, layer_macs, prefill_macs
from tokenbench.engine import RowTrace

__all__ = ["realised_bytes", "realised_flops"]


def realised_flops(row: RowTrace, size: ModelSize) -> float:
    """FLOPs of encoding and prefill, as the method does them when it runs alone: with layers asked before they run, a second forward, and
    the encoder on as few tokens as the method leaves it. What `select` computes is not counted."""
    decoder = size.decoder
    macs = prefill_macs(decoder, row.tokens_per_layer, row.text)
    macs += row.prior_layers * layer_macs(decoder, row.prior_tokens, row.prior_tokens)
    attention = 2 * decoder.width * (decoder.query_width + decoder.kv_width)
    macs += sum(n * (attention + 2 * n * decoder.query_width) for n in row.peeked)
    encoder = encoder_macs(size.encoder, row.grids)
    if not row.kept and row.stages[0][0] == 0:  # nothing of the image is ever looked at
        encoder = 0
    if row.encoder_rows:
        full = sum(_rows_macs(size.encoder, [rows] * len(run)) for rows, run in row.encoder_rows)
        encoder *= sum(_rows_macs(size.encoder, run) for _, run in row.encoder_rows) / full
    return flops(macs + encoder)


def realised_bytes(row: RowTrace, size: ModelSize, number: int) -> float:
    """Bytes of KV cache after prefill, `number` bytes each number."""
    return cache_bytes(size.decoder, row.cache_lengths, number)


def _rows_macs(size: EncoderSize, rows: Sequence[int]) -> float:
    """Multiply-accumulates of a frame whose layers compute so many rows, windows left aside."""
    each = 4 * size.width**2 + size.mlp_matrices * size.width * size.mlp_width
    return sum(n * each + 2 * size.width * n**2 for n in rows)
