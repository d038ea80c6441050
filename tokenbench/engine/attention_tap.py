"""A tap on attention layers: queries and keys, read inside the attention interface while the stock kernel works.

They are read after q/k norm and position embeddings and before grouped keys are repeated, so that no architecture needs
code of its own. Attention weights are computed for the few queries that somebody asked for.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tokenbench.engine.packed_windows import PackedWindows
from tokenbench.errors import UsageError

__all__ = ["Attended", "AttentionTap", "Call", "Detour", "Listener", "read_scaling"]

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

    def rows(self, rows: Tensor | None) -> Attended:
        """What it worked on in these rows [G]; None stands for all."""
        if rows is None:
            return self
        mask = self.mask
        if mask is not None and len(mask) > 1:
            mask = mask.index_select(0, rows.to(mask.device))
        own = rows.to(self.key.device)
        return replace(self, query=self.query.index_select(0, own), key=self.key.index_select(0, own), mask=mask)

    def weights(self, queries: slice | Tensor, valid: Tensor | None) -> Tensor:
        """Attention weights of some queries.

        Args:
            queries: Those of every row, or one of each row [B, 1].
            valid: [B, n] False at padding; None if there is none.

        Returns:
            [B, H, q, n], float32.
        """
        products = self.products(queries)
        seen = self._seen(queries)
        if valid is not None:
            padding = valid[:, None, None].to(products.device)
            seen = padding if seen is None else seen & padding
        return (products if seen is None else products.masked_fill(~seen, -torch.inf)).softmax(-1)

    def _seen(self, queries: slice | Tensor) -> Tensor | None:
        """[B or 1, 1 or H, q, n] which keys the queries see; None if they see all."""
        n = self.key.shape[2]
        if self.mask is None or self.mask.ndim != 4:
            if isinstance(queries, slice) and queries.indices(n)[:2] == (n - 1, n):
                return None
            columns = torch.arange(n, device=self.key.device)
            own = columns[queries] if isinstance(queries, slice) else queries[:, None].to(columns.device)
            return columns <= own.unsqueeze(-1)
        if isinstance(queries, slice):
            seen = self.mask[:, :, queries]
        else:
            mask = self.mask.expand(len(queries), -1, -1, -1)
            seen = mask.gather(2, queries[:, None, :, None].to(mask.device).expand(-1, mask.shape[1], -1, n))
        return seen if seen.dtype == torch.bool else seen > torch.finfo(seen.dtype).min / 2

    def join_heads(self) -> Attended:
        """The same heads side by side, as one head of the full width, whose products are divided by its square root."""
        query, key = (part.transpose(1, 2).flatten(2).unsqueeze(1) for part in (self.query, self.key))
        return Attended(query, key, query.shape[-1] ** -0.5)

    def products(self, queries: slice | Tensor) -> Tensor:
        """[B, H, q, n] scaled products of some queries with all keys, float32; the queries as for `weights`."""
        if isinstance(queries, slice):
            chosen = self.query[:, :, queries]
        else:
            heads, width = self.query.shape[1], self.query.shape[3]
            at = queries[:, None, :, None].to(self.query.device)
            chosen = self.query.gather(2, at.expand(-1, heads, -1, width))
        batch, heads, q, width = chosen.shape
        # Grouped heads share their key.
        grouped = chosen.float().reshape(batch, self.key.shape[1], -1, width)
        products = grouped @ self.key.float().transpose(-1, -2) * self.scaling
        return products.view(batch, heads, q, self.key.shape[2])


def read_scaling(query: Tensor, kwargs: Mapping[str, Any]) -> float:
    """The factor of the products of a query [B, H, q, D], from the keyword arguments of an attention function."""
    scaling: float | None = kwargs.get("scaling")
    return query.shape[-1] ** -0.5 if scaling is None else scaling


Listener = Callable[[Attended], None]


@dataclass(frozen=True)
class Call:
    """One call of a module's attention function."""

    stock: Callable[..., Any]
    """The stock function, which takes the following, and the keyword arguments by name."""
    query: Tensor
    """[B, H, q, D]."""
    key: Tensor
    """[B, H_kv, n, D]."""
    value: Tensor
    """[B, H_kv, n, D]."""
    mask: Any
    """The mask."""
    kwargs: dict[str, Any]
    """The keyword arguments."""


Detour = Callable[[Call], tuple[Tensor, Any]]
"""What stands in for one call of an attention function."""


class _Listeners(threading.local):
    """Who listens to which module, and whose next call is to be split or takes a detour. Every thread hears its own forward alone."""

    def __init__(self) -> None:
        self.of: WeakKeyDictionary[nn.Module, Listener] = WeakKeyDictionary()
        self.windows: WeakKeyDictionary[nn.Module, PackedWindows] = WeakKeyDictionary()
        self.detours: WeakKeyDictionary[nn.Module, Detour] = WeakKeyDictionary()


_LISTENERS = _Listeners()


def _wrap_stock(stock: str) -> Callable[..., Any]:
    def attention(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any
    ) -> Any:
        detour = _LISTENERS.detours.pop(module, None)
        if detour is not None:
            own = partial(_stock_function(stock, module), module)
            return detour(Call(own, query, key, value, attention_mask, kwargs))
        listener, windows = _LISTENERS.of.get(module), _LISTENERS.windows.pop(module, None)
        given = query, key, value, attention_mask
        if windows is not None:
            split = (windows.split(part) for part in given[:3])
            query, key, value, attention_mask = *split, windows.mask(query, added=stock == "eager")
        if listener is not None:
            # What to keep is no function that gradients flow through; gradient checkpointing will not ask again.
            with torch.no_grad():
                listener(Attended(query, key, read_scaling(query, kwargs), attention_mask))
        run = _stock_function(stock, module)
        if windows is None or "flash" in stock:
            return run(module, *given, **kwargs)
        output, weights = run(module, query, key, value, attention_mask, **kwargs)
        return windows.join(output).unsqueeze(0), weights

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
            _LISTENERS.windows.pop(attention, None)
            _LISTENERS.detours.pop(attention, None)
        self._undo.close()

    def check(self) -> None:
        """Check that the layers can still be read, and forget what a forward that failed has left.

        Raises:
            UsageError: If somebody has changed the model's implementation of attention inside the context.
        """
        if self._model.config._attn_implementation != _PREFIX + self._stock:
            raise UsageError(
                "the attention implementation of the model was changed inside pruned()",
                "call set_attn_implementation before entering the context",
            )
        for attention in self._attentions:
            _LISTENERS.detours.pop(attention, None)

    def detour(self, attention: nn.Module, detour: Detour) -> None:
        """Let the next call of an attention module's function be another one."""
        _LISTENERS.detours[attention] = detour

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

    def split(self, attention: nn.Module, windows: PackedWindows, arguments: dict[str, Any]) -> dict[str, Any]:
        """Let the next call of an attention module, on windows packed into one sequence, compute all of them at once.

        Args:
            attention: The attention module.
            windows: The windows.
            arguments: What the layer is called with.

        Returns:
            These arguments, by which the stock module makes one call of all windows.
        """
        _LISTENERS.windows[attention] = windows
        whole = windows.bounds[:: len(windows.bounds) - 1], None
        bounds, size = (windows.bounds, windows.size) if "flash" in self._stock else whole
        changed = {"cu_seqlens": bounds, "max_seqlen": size}
        return {name: changed.get(name, value) for name, value in arguments.items()}
