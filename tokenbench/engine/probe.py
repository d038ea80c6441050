"""Softmax rows of a few queries, from the very q and k an attention layer uses, while the stock kernel does the work.

The rows are read inside the attention interface: after q/k norm and position embeddings, before grouped keys are
repeated, so that no architecture needs code of its own. Eager attention hands out its weights itself.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

__all__ = ["Probe", "Rows"]

# rows(b, queries [r], valid [n]) -> [heads, r, n] softmax rows of row b of the batch.
Rows = Callable[[int, Tensor, Tensor], Tensor]
_LISTENERS: WeakKeyDictionary[nn.Module, Callable[[Rows], None]] = WeakKeyDictionary()
_PREFIX = "tokenbench_"


def _softmax_rows(query: Tensor, key: Tensor, scaling: float | None) -> Rows:
    """query [B, H, q, D], key [B, H_kv, n, D] with q == n."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling

    def rows(b: int, queries: Tensor, valid: Tensor) -> Tensor:
        kv_heads = key.shape[1]
        # Grouped heads share their key.
        chosen = query[b][:, queries].float().reshape(kv_heads, -1, len(queries), query.shape[-1])
        logits = chosen @ key[b].float().unsqueeze(1).transpose(-1, -2) * scale
        column = torch.arange(key.shape[2], device=key.device)
        seen = valid & (column <= queries.unsqueeze(1))
        weights: Tensor = logits.masked_fill(~seen, -torch.inf).softmax(-1)
        return weights.flatten(0, 1)

    return rows


def _probed(stock: str) -> Callable[..., Any]:
    def attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **kwargs: Any) -> Any:
        listener = _LISTENERS.get(module)
        if listener is not None:
            listener(_softmax_rows(query, key, kwargs.get("scaling")))
        return ALL_ATTENTION_FUNCTIONS[stock](module, query, key, value, mask, **kwargs)

    return attention


def _register(stock: str) -> str:
    name = _PREFIX + stock
    if name not in ALL_ATTENTION_FUNCTIONS:
        AttentionInterface.register(name, _probed(stock))
        AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[stock])
    return name


class Probe:
    """Makes a decoder's attention layers readable for as long as the context lasts."""

    def __init__(self, decoder: nn.Module) -> None:
        self._decoder: Any = decoder
        config: Any = decoder.config
        self._stock: str = config._attn_implementation.removeprefix(_PREFIX)
        self._undo = ExitStack()

    @property
    def attention(self) -> str:
        """Name of the stock implementation that computes the attention."""
        return self._stock

    def __enter__(self) -> Probe:
        if self._stock == "eager":
            for layer in self._decoder.layers:
                self._undo.callback(layer.self_attn.register_forward_hook(self._eager).remove)
        else:
            self._undo.callback(self._decoder.set_attn_implementation, self._decoder.config._attn_implementation)
            self._decoder.set_attn_implementation(_register(self._stock))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for layer in self._decoder.layers:
            _LISTENERS.pop(layer.self_attn, None)
        self._undo.close()

    def listen(self, attention: nn.Module, listener: Callable[[Rows], None] | None) -> None:
        """Call `listener` when `attention` runs next; None = stop listening."""
        if listener is None:
            _LISTENERS.pop(attention, None)
        else:
            _LISTENERS[attention] = listener

    @staticmethod
    def _eager(module: nn.Module, args: Any, output: Any) -> None:
        listener = _LISTENERS.get(module)
        if listener is not None:
            weights = output[1]
            listener(lambda b, queries, valid: weights[b][:, queries].float())
