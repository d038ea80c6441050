"""Several KV caches as one: a decode step runs for all their rows at once, and every row attends to its own cache.

Linear layers read their weights once for all rows. Nothing is copied or padded: attention runs for cache after cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from tokenbench.engine.attention_tap import Call
from tokenbench.engine.pruned_layer import PrunedLayer

__all__ = ["CannotSplitError", "JoinedCache", "JoinedLayer", "can_join"]


class CannotSplitError(Exception):
    """A module changes keys or masks before it attends, so that rows cannot attend to keys of their own."""


class JoinedLayer(DynamicLayer):
    """One layer of several caches.

    Args:
        parts: That layer of each.
    """

    def __init__(self, parts: Sequence[PrunedLayer]) -> None:
        super().__init__()
        self.parts = list(parts)
        """The layers, of prompts of one width."""
        self.latest: Tensor | None = None
        """What stands for all keys: those of the latest tokens."""
        self.is_initialized = True

    @property
    def rows(self) -> list[slice]:
        """The rows of each part."""
        ends = list(accumulate(len(part.keys) for part in self.parts if part.keys is not None))
        return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Store keys and values in every part, and return them to stand for what each part holds."""
        for part, rows in zip(self.parts, self.rows, strict=True):
            part.update(key_states[rows], value_states[rows])
        self.latest = key_states
        return key_states, value_states

    def attend(self, masks: Sequence[Tensor | None], call: Call) -> tuple[Tensor, None]:
        """Attend to every part's own keys, with its own mask: a `Detour` but for the first argument.

        Raises:
            CannotSplitError: If the module has made other keys of `latest`, or a mask where it was given none.
        """
        if call.key is not self.latest or call.mask is not None:
            raise CannotSplitError
        outputs, query = [], call.query
        for part, rows, own in zip(self.parts, self.rows, masks, strict=True):
            of_rows = {
                name: value[rows] if isinstance(value, Tensor) and value.shape[:1] == query.shape[:1] else value
                for name, value in call.kwargs.items()
            }
            mask = None if own is None else own.to(query.device)  # layers may stand on several
            outputs.append(call.stock(query[rows], part.keys, part.values, mask, **of_rows)[0])
        return torch.cat(outputs), None

    def get_seq_length(self) -> int:
        """The length that generate() sees."""
        return self.parts[0].get_seq_length()

    def forget_latest(self) -> None:
        """Forget the token that followed the prompts, where it is stored already."""
        for part in self.parts:
            assert part.keys is not None and part.valid is not None
            if part.keys.shape[2] > part.valid.shape[1]:
                part.crop(-1)


class JoinedCache(DynamicCache):
    """Several caches as one.

    Args:
        caches: The caches (see `can_join`).
    """

    def __init__(self, caches: Sequence[Cache]) -> None:
        super().__init__()
        self.layers: list[Any] = [JoinedLayer(parts) for parts in zip(*(cache.layers for cache in caches), strict=True)]

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some rows; indices [b] ascend."""
        at = indices.tolist()
        kept = [[row - rows.start for row in at if rows.start <= row < rows.stop] for rows in self.layers[0].rows]
        numbers, described = [indices.new_tensor(own) for own in kept], dict[int, tuple[Any, Any]]()
        for layer in self.layers:
            for part, rows, own in zip(layer.parts, layer.rows, numbers, strict=True):
                if 0 < len(own) < rows.stop - rows.start:
                    _select(part, own, described)
            layer.parts = [part for part, own in zip(layer.parts, kept, strict=True) if own]

    def forget_latest(self) -> None:
        """Let the caches hold their prompts alone again."""
        for layer in self.layers:
            layer.forget_latest()


def _select(layer: PrunedLayer, rows: Tensor, described: dict[int, tuple[Any, Any]]) -> None:
    """Keep some rows of a layer. Layers that hold the same tokens go on to share what says so, and masks made of it."""
    before = layer.valid, layer.columns, layer.shift
    layer.batch_select_indices(rows)
    _, shared = described.setdefault(id(before[0]), (before, (layer.valid, layer.columns, layer.shift)))
    layer.valid, layer.columns, layer.shift = shared


def can_join(cache: Any) -> bool:
    """Whether a cache holds what a pruner put there, and nothing besides: no recurrent states, no windows."""
    return isinstance(cache, DynamicCache) and all(type(layer) is PrunedLayer for layer in cache.layers)
