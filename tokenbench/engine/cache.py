"""The KV cache of a pruned prompt: what kinds there are, and which layers take the place of the stock ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers.cache_utils import (
    Cache,
    DummyLayer,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionCacheLayerMixin,
)

from tokenbench.engine.joining import JoinedLayer
from tokenbench.engine.pruned_layer import PrunedLayer
from tokenbench.errors import UsageError

__all__ = ["SlidingLayers", "cache_name", "check_kind", "install", "selects_rows"]


def selects_rows(cache: Any) -> bool:
    """Whether a cache can go on with some of its rows: one that holds keys and values of attention alone."""
    plain = (PrunedLayer, JoinedLayer, DynamicLayer, DynamicSlidingWindowLayer, DummyLayer)
    return isinstance(cache, DynamicCache) and all(type(layer) in plain for layer in cache.layers)


def cache_name(kwargs: Mapping[str, Any]) -> str:
    """Return the keyword by which a module takes its cache.

    transformers renamed `past_key_values` in 5.24, and modules of both kinds occur together.
    """
    return "cache" if "cache" in kwargs else "past_key_values"


def check_kind(cache: Cache | None) -> None:
    """Check that a cache may hold a pruned prompt.

    Raises:
        UsageError: If it is of another kind than the default one (static, sliding, quantized).
    """
    if cache is None:
        return
    plain = all(
        type(layer) in (DynamicLayer, DynamicSlidingWindowLayer, PrunedLayer) or _has_no_keys(layer)
        for layer in cache.layers
    )
    if not isinstance(cache, DynamicCache) or not plain:
        kind = type(cache).__name__
        if kind == "DynamicCache":
            kind = f"one of {', '.join(sorted({type(layer).__name__ for layer in cache.layers}))}"
        raise UsageError(
            f"pruning needs the default dynamic KV cache, not {kind}",
            "do not pass cache_implementation or past_key_values",
        )


def install(cache: Cache | None, depth: int) -> list[PrunedLayer | None] | None:
    """Give an empty cache pruned layers, one for each decoder layer of attention.

    Args:
        cache: The cache; None (`use_cache=False`) stays None.
        depth: The number of decoder layers.

    Returns:
        The layers. That of a decoder layer that stores no keys stays as it is, and is None here.

    Raises:
        UsageError: If the cache is of another kind (static, quantized).
    """
    if cache is None:
        return None
    check_kind(cache)
    stock = [*cache.layers, *[None] * (depth - len(cache.layers))]
    own = [None if _has_no_keys(layer) else PrunedLayer() for layer in stock[:depth]]
    layers: list[Any] = [pruned or layer for pruned, layer in zip(own, stock, strict=False)]
    cache.layers[:] = layers
    return own


def _has_no_keys(layer: Any) -> bool:
    """Whether a layer of a cache is that of a recurrent decoder layer, or of one that reads the keys of another."""
    recurrent = isinstance(layer, LinearAttentionCacheLayerMixin) and not isinstance(layer, DynamicLayer)
    return recurrent or isinstance(layer, DummyLayer)


class SlidingLayers:
    """The stock cache's layers of sliding windows, which go on if a prompt lost no token.

    Args:
        cache: The empty stock cache.
    """

    def __init__(self, cache: Cache | None) -> None:
        self._cache = cache
        layers = [] if cache is None else cache.layers
        self._stock = {i: layer for i, layer in enumerate(layers) if type(layer) is DynamicSlidingWindowLayer}

    def give_back(self) -> None:
        """Let the stock layers hold what they would hold, had they stored the prompt."""
        for i, stock in self._stock.items():
            assert self._cache is not None
            full: Any = self._cache.layers[i]
            stock.lazy_initialization(full.keys, full.values)
            stock.keys = full.keys[:, :, -stock.sliding_window + 1 :]
            stock.values = full.values[:, :, -stock.sliding_window + 1 :]
            stock.cumulative_length = full.keys.shape[2]
            self._cache.layers[i] = stock
