"""What one prompt really cost, from the trace of the run and the sizes of the model."""

from __future__ import annotations

from collections.abc import Sequence

from tokenbench.contract.sizes import EncoderSize, ModelSize
from tokenbench.cost.macs import cache_bytes, encoder_macs, flops, layer_macs, prefill_macs
from tokenbench.engine import RowTrace

__all__ = ["decoder_macs", "realised_bytes", "realised_flops"]


def realised_flops(row: RowTrace, size: ModelSize) -> float:
    """FLOPs of encoding and prefill, as the method does them when it runs alone.

    They include attention that runs once more and a pass without the question, and the encoder runs on as few tokens as
    the method leaves it. What `select` computes is not counted.
    """
    macs = decoder_macs(row, size)
    encoder = encoder_macs(size.encoder, row.grids)
    if not row.kept and row.stages[0][0] == 0:  # nothing of the image is ever looked at
        encoder = 0
    if row.encoder_positions:
        full = sum(_frame_macs(size.encoder, [length] * len(layers)) for length, layers in row.encoder_positions)
        encoder *= sum(_frame_macs(size.encoder, layers) for _, layers in row.encoder_positions) / full
    return flops(macs + encoder)


def decoder_macs(row: RowTrace, size: ModelSize) -> float:
    """Multiply-accumulates of the decoder's prefill, with attention that runs once more and a pass without the question."""
    decoder = size.decoder
    macs = prefill_macs(decoder, row.tokens_per_layer, row.text)
    macs += row.no_question_layers * layer_macs(decoder, row.no_question_tokens, row.no_question_tokens)
    attention = 2 * decoder.width * (decoder.query_width + decoder.kv_width)
    return macs + sum(n * (attention + 2 * n * decoder.query_width) for n in row.repeated_attentions)


def realised_bytes(row: RowTrace, size: ModelSize, number: int) -> float:
    """Bytes of the KV cache after the prefill.

    Args:
        row: The trace of the prompt.
        size: Sizes of the model.
        number: Bytes of one number.
    """
    return cache_bytes(size.decoder, row.cache_lengths, number)


def _frame_macs(size: EncoderSize, positions: Sequence[int]) -> float:
    """Multiply-accumulates of a frame whose layers compute so many positions, windows left aside."""
    each = 4 * size.width**2 + size.mlp_matrices * size.width * size.mlp_width
    return sum(n * each + 2 * size.width * n**2 for n in positions)
