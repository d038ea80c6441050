"""A tap on attention layers: queries and keys, read inside the attention interface while the stock kernel works.

They are read after q/k norm and position embeddings and before grouped keys are repeated, so that no architecture needs
code of its own. Attention weights are computed for the few queries that somebody asked for.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tokenbench.errors import UsageError

__all__ = ["Attended", "AttentionTap", "Listener"]

_PREFIX = "tokenbench_"
SUPPORTED = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4")
"""The stock implementations for which the engine can make masks, besides flash attention from kernels of the Hub."""


@dataclass(frozen=True)
class Attended:
    """What one attention layer worked on."""

    query: Tensor
    """[B, H, n, D]."""
    key: Tensor
    """[B, H_kv, n, D]."""
    scaling: float
    """The factor of their products."""
    mask: Tensor | None = None
    """[B or 1, 1 or H, n, n] the mask of the call, boolean or with numbers that are added; None for the causal rule."""

    def weights(self, b: int, queries: Tensor, valid: Tensor) -> Tensor:
        """[heads, q, n] attention weights of row b's queries [q], float32; valid [n] excludes padding."""
        return self.products(b, queries).masked_fill(~(self._seen(b, queries) & valid), -torch.inf).softmax(-1)

    def _seen(self, b: int, queries: Tensor) -> Tensor:
        """[q, n] or [1 or H, q, n] which keys row b's queries [q] see."""
        if self.mask is None or self.mask.ndim != 4:
            return torch.arange(self.key.shape[2], device=self.key.device) <= queries.unsqueeze(1)
        own = self.mask[b % len(self.mask)][:, queries]
        return own if own.dtype == torch.bool else own > torch.finfo(own.dtype).min / 2

    def join_heads(self) -> Attended:
        """The same heads side by side, as one head of the full width, whose products are divided by its square root."""
        query, key = (part.transpose(1, 2).flatten(2).unsqueeze(1) for part in (self.query, self.key))
        return Attended(query, key, query.shape[-1] ** -0.5)

    def products(self, b: int, queries: Tensor | slice) -> Tensor:
        """[heads, q, n] scaled products of row b's queries with all keys, float32."""
        key = self.key[b].float()
        chosen = self.query[b][:, queries].float()
        # Grouped heads share their key.
        grouped = chosen.reshape(len(key), -1, *chosen.shape[1:])
        return (grouped @ key.unsqueeze(1).transpose(-1, -2) * self.scaling).flatten(0, 1)


Listener = Callable[[Attended], None]


class _Listeners(threading.local):
    """Who listens to which module. Every thread hears its own forward alone."""

    def __init__(self) -> None:
        self.of: WeakKeyDictionary[nn.Module, Listener] = WeakKeyDictionary()


_LISTENERS = _Listeners()


def _wrap_stock(stock: str) -> Callable[..., Any]:
    def attention(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any
    ) -> Any:
        listener = _LISTENERS.of.get(module)
        if listener is not None:
            scaling = kwargs.get("scaling")
            # What to keep is no function that gradients flow through; gradient checkpointing will not ask again.
            with torch.no_grad():
                listener(Attended(query, key, query.shape[-1] ** -0.5 if scaling is None else scaling, attention_mask))
        return _stock_function(stock, module)(module, query, key, value, attention_mask, **kwargs)

    return attention


def _stock_function(name: str, module: nn.Module) -> Callable[..., Any]:
    if name != "eager":
        stock: Callable[..., Any] = ALL_ATTENTION_FUNCTIONS[name]
        return stock
    # Eager attention is no entry of the interface: every modeling file brings its own.
    own: Callable[..., Any] = sys.modules[type(module).__module__].eager_attention_forward
    return own


def _register(stock: str) -> str:
    name = _PREFIX + stock
    if name not in ALL_ATTENTION_FUNCTIONS:
        AttentionInterface.register(name, _wrap_stock(stock))
        AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[stock])
    return name


class AttentionTap:
    """Makes attention layers of a stock model readable for as long as the context lasts.

    Args:
        model: The stock model that the layers belong to.
        attentions: The attention modules of the layers.

    Raises:
        UsageError: If the model's implementation of attention takes masks that the engine cannot make.
    """

    def __init__(self, model: Any, attentions: Iterable[nn.Module]) -> None:
        self._model = model
        self._attentions = list(attentions)
        self._stock: str = self._model.config._attn_implementation.removeprefix(_PREFIX)
        if self._stock not in SUPPORTED and not ("/" in self._stock and "flash" in self._stock):
            raise UsageError(
                f"pruning does not support the attention implementation '{self._stock}'",
                'call model.set_attn_implementation("sdpa") first; eager and flash attention are supported, too',
            )
        self._undo = ExitStack()

    @property
    def attention(self) -> str:
        """Name of the stock implementation that computes the attention."""
        return self._stock

    def __enter__(self) -> AttentionTap:
        self._undo.callback(self._model.set_attn_implementation, self._model.config._attn_implementation)
        self._model.set_attn_implementation(_register(self._stock))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for attention in self._attentions:
            _LISTENERS.of.pop(attention, None)
        self._undo.close()

    def check(self) -> None:
        """Check that the layers can still be read.

        Raises:
            UsageError: If somebody has changed the model's implementation of attention inside the context.
        """
        if self._model.config._attn_implementation != _PREFIX + self._stock:
            raise UsageError(
                "the attention implementation of the model was changed inside pruned()",
                "call set_attn_implementation before entering the context",
            )

    def listen(self, attention: nn.Module, listener: Listener | None) -> None:
        """Call a listener whenever an attention module runs.

        Args:
            attention: The attention module.
            listener: Called with what the module worked on; None stops the listening.
        """
        if listener is None:
            _LISTENERS.of.pop(attention, None)
        else:
            _LISTENERS.of[attention] = listener
