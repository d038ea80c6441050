"""The arguments of decoder layers in a decode step, whose keys are those that pruning left in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tokenbench.engine.arguments import gather_mask
from tokenbench.engine.attention_tap import AttentionTap
from tokenbench.engine.cache import cache_name
from tokenbench.engine.joining import JoinedLayer
from tokenbench.engine.layers import key_holders
from tokenbench.engine.pruned_layer import PrunedLayer
from tokenbench.engine.segment import causal_mask
from tokenbench.engine.state import Forward

__all__ = ["DecodeStep"]


class DecodeStep:
    """Changes what the stock decoder gives its layers after a pruned prompt.

    Args:
        decoder: The stock decoder.
        kinds: The kind of each layer, such as "full_attention".
        tap: What listens to its attention.
    """

    def __init__(self, decoder: Any, kinds: Sequence[str], tap: AttentionTap) -> None:
        self._decoder, self._kinds, self._tap = decoder, kinds, tap
        self._holders = key_holders(decoder)

    def change(self, i: int, hidden: Tensor, kwargs: dict[str, Any], forward: Forward) -> dict[str, Any]:
        """The keyword arguments of decoder layer i.

        Args:
            i: The layer.
            hidden: [B, q, C] its input.
            kwargs: Those that the decoder gives it.
            forward: What the layers of this step share.
        """
        cache = kwargs.get(cache_name(kwargs))
        at = self._holders[i]
        stored = cache.layers[at] if cache is not None and at < len(cache.layers) else None
        if isinstance(stored, JoinedLayer):
            return self._split(i, stored, hidden, kwargs, forward)
        if not isinstance(stored, PrunedLayer):
            return kwargs
        stored.awaited = at == i
        if stored.full or stored.valid is None:
            return kwargs
        if at == i:
            forward.layer_masks[i] = self._mask(stored, hidden, kwargs.get("attention_mask"), forward)
        changed: dict[str, Any] = {"attention_mask": forward.layer_masks[at]}
        if "position_ids" in kwargs:
            changed["position_ids"] = None
        assert stored.shift is not None
        if stored.compact and kwargs.get("position_embeddings") is not None:  # some layers have no positions
            changed["position_embeddings"] = self._rope(i, (stored.shift,), hidden, forward)
        return {**kwargs, **changed}

    def _split(
        self, i: int, stored: JoinedLayer, hidden: Tensor, kwargs: dict[str, Any], forward: Forward
    ) -> dict[str, Any]:
        """The arguments of a layer whose rows attend to several caches."""
        stock, masks = kwargs.get("attention_mask"), []
        for part, rows in zip(stored.parts, stored.rows, strict=True):
            part.awaited = True
            mask = stock if stock is None or len(stock) == 1 else stock[rows]
            masks.append(mask if part.full else self._mask(part, hidden[rows], mask, forward, rows.start))
        self._tap.detour(self._decoder.layers[i].self_attn, partial(stored.attend, masks))
        changed: dict[str, Any] = {"attention_mask": None}
        if "position_ids" in kwargs:
            changed["position_ids"] = None
        if any(part.compact for part in stored.parts) and kwargs.get("position_embeddings") is not None:
            shifts = tuple(part.shift for part in stored.parts if part.shift is not None)
            changed["position_embeddings"] = self._rope(i, shifts, hidden, forward)
        return {**kwargs, **changed}

    def _rope(self, i: int, shifts: tuple[Tensor, ...], hidden: Tensor, forward: Forward) -> Any:
        """One a segment, kind of layer and step: position embeddings of what follows positions moved by shifts [B]."""
        kind = (self._kinds[i],) if forward.by_kind else ()
        key = (tuple(map(id, shifts)), kind)
        if key not in forward.ropes:
            assert forward.positions is not None
            shift = torch.cat(shifts) if len(shifts) > 1 else shifts[0]
            # Not called as a module: the pruner listens there.
            moved = forward.positions - shift.unsqueeze(1)
            forward.ropes[key] = self._decoder.rotary_emb.forward(hidden, moved, *kind)
        return forward.ropes[key]

    def _mask(
        self, stored: PrunedLayer, hidden: Tensor, stock: Tensor | None, forward: Forward, first: int = 0
    ) -> Tensor | None:
        """One mask a segment, stock mask and step: layers that have these in common share it.

        Args:
            stored: What the layer stores of some rows.
            hidden: [b, q, C] the layer's input of these rows.
            stock: The stock mask of these rows.
            forward: What the layers of this step share.
            first: The first of the rows.
        """
        assert stored.valid is not None and stored.keys is not None
        queries, masks = hidden.shape[1], forward.masks
        key = (id(stored.valid), stored.keys.shape[2], None if stock is None else (stock.data_ptr(), first))
        if key not in masks:
            seen = stored.seen(queries)
            if stock is not None and stock.ndim == 4:
                masks[key] = gather_mask(stock, None, stored.all_columns(queries), seen)
            else:
                attention = self._tap.attention
                masks[key] = causal_mask(seen, queries, padded=stored.padded, attention=attention, dtype=hidden.dtype)
        return masks[key]
