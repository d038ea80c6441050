"""The KV cache while a prompt runs: every layer learns what it stores, and the rows that trim do so at the end."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from tokenbench.engine.cache import SlidingLayers, install
from tokenbench.engine.layout import PromptColumns
from tokenbench.engine.pruned_layer import PrunedLayer
from tokenbench.engine.segment import Segment, flatten, pack

__all__ = ["PrefillCache"]


class PrefillCache:
    """The cache of one prefill.

    Args:
        cache: The empty cache that the decoder was given; its layers are replaced. None if it was given none.
        depth: Decoder layers.
        prompt: The batch that runs.

    Raises:
        UsageError: For a cache that is not the default dynamic one.
    """

    def __init__(self, cache: Cache | None, depth: int, prompt: PromptColumns) -> None:
        self._prompt = prompt
        self._sliding = SlidingLayers(cache)
        self._layers = install(cache, depth) or []
        self._segments: list[Segment] = []  # what every layer holds

    def layer(self, i: int) -> PrunedLayer | None:
        """The cache of decoder layer i."""
        return self._layers[i] if self._layers else None

    def describe(self, i: int, segment: Segment) -> None:
        """Tell the cache of decoder layer i that it is about to store the tokens of `segment`."""
        if self._layers:
            text = self._prompt.width - max(self._prompt.after)
            if (layer := self._layers[i]) is not None:
                layer.describe(segment, self._prompt.width, text)
            self._segments.append(segment)

    def keys_and_values(self, layers: int) -> list[tuple[Tensor, Tensor]]:
        """What the first `layers` layers hold."""
        held = [one for one in self._layers[:layers] if one is not None]
        return [(one.keys, one.values) for one in held if one.keys is not None and one.values is not None]

    def finish(self, last: Segment, trim: Sequence[bool]) -> None:
        """Close the cache of a pruned prompt: from here on, only the hooks know what it holds.

        Args:
            last: The tokens that are left.
            trim: Rows whose dropped tokens leave the earlier layers, too.
        """
        if last.full:
            self._sliding.give_back()
        if not self._layers or last.full:
            return
        for own in filter(None, self._layers):
            own.pruned = True
        if not any(trim):
            return
        # Padding repeats columns that were dropped.
        alive = torch.zeros_like(self._prompt.valid).scatter(1, last.columns, last.valid)
        untrimmed = None if all(trim) else ~torch.tensor(trim, device=alive.device).unsqueeze(1)
        packed: dict[int, tuple[Tensor, Tensor, Tensor, bool]] = {}
        for layer, segment in zip(self._layers, self._segments, strict=True):
            if segment is last:
                break
            if id(segment) not in packed:
                keep = alive if segment.full else alive.gather(1, segment.columns)
                if untrimmed is not None:
                    keep = segment.valid & (keep | untrimmed)
                ends = zip(trim, last.lengths, segment.lengths, strict=True)
                lengths = [end if cut else own for cut, end, own in ends]
                index, valid = pack(keep, max(lengths))
                places = flatten(index, segment.valid.shape[1])
                packed[id(segment)] = places, segment.columns.gather(1, index), valid, min(lengths) < max(lengths)
            if layer is not None:
                layer.trim(*packed[id(segment)])
