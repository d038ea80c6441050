"""The kinds of a decoder's layers, which decide what masks and caches they have."""

from __future__ import annotations

from typing import Any

__all__ = ["kinds_of_layers"]


def kinds_of_layers(config: Any) -> list[str]:
    """The kind of every decoder layer, as transformers names them in `layer_types`."""
    kinds = getattr(config, "layer_types", None)
    if kinds:
        return list(kinds)
    sliding = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    chunked = getattr(config, "attention_chunk_size", None)
    kind = "sliding_attention" if sliding else "chunked_attention" if chunked else "full_attention"
    return [kind] * int(config.num_hidden_layers)
