"""The kinds of a decoder's layers, which decide what masks and caches they have."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

__all__ = ["key_holders", "kinds_of_layers", "last_stage", "name_arguments"]


def kinds_of_layers(config: Any) -> list[str]:
    """The kind of every decoder layer, as transformers names them in `layer_types`."""
    kinds = getattr(config, "layer_types", None)
    if kinds:
        return list(kinds)
    sliding = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    chunked = getattr(config, "attention_chunk_size", None)
    kind = "sliding_attention" if sliding else "chunked_attention" if chunked else "full_attention"
    return [kind] * int(config.num_hidden_layers)


def key_holders(decoder: Any) -> list[int]:
    """Of every decoder layer, the layer whose keys and values it reads: its own, or those of an earlier one (Gemma 4)."""
    kinds = kinds_of_layers(decoder.config)
    holders: list[int] = []
    last: dict[str, int] = {}  # of each kind, the last layer with keys of its own
    for i, layer in enumerate(decoder.layers):
        if not getattr(getattr(layer, "self_attn", None), "is_kv_shared_layer", False):
            last[kinds[i]] = i
        holders.append(last[kinds[i]])
    return holders


def last_stage(decoder: Any) -> int:
    """The last layer before which a stage may stand: no later layer may read keys from before the stage."""
    return min((at for i, at in enumerate(key_holders(decoder)) if at < i), default=len(decoder.layers))


def name_arguments(layer: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a layer, with what its decoder gives it by position after the hidden states."""
    if not args:
        return kwargs
    names = list(signature(type(layer).forward).parameters)[2:]
    return {**dict(zip(names, args, strict=False)), **kwargs}
