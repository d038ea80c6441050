"""The first layers of an unpruned prefill, computed once: other prefills of the same prompts go on from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from tokenbench.contract.stage import Attn
from tokenbench.engine.pruned_layer import PrunedLayer

__all__ = ["LayerCheckpoint"]


@dataclass
class LayerCheckpoint:
    """The unpruned prefill of B rows, as far as others go on from it.

    A prefill of more rows goes on from it plan by plan: its row b from row b modulo B.
    """

    rows: int
    """B."""
    hidden: dict[int, Tensor] = field(default_factory=dict)
    """{depth: [B, S, C]} hidden states."""
    keys: dict[int, Tensor] = field(default_factory=dict)
    """{layer: [B, S, D]}."""
    attention: dict[Attn, tuple[Sequence[int], Tensor]] = field(default_factory=dict)
    """{request: the rows that asked for it, and their weights [A, heads, queries, S]}."""
    cache: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Keys and values [B, H, S, D] of the first layers."""

    def skip_layer(self, layer: int, start: int, rows: int, cache: PrunedLayer | None) -> Tensor:
        """Fill the cache of a decoder layer that need not run, and return what stands for its output.

        Args:
            layer: The decoder layer.
            start: The first layer that runs; only the output of the layer before it is read.
            rows: How many rows go on from here.
            cache: The cache of the layer, if there is one.
        """
        each = rows // self.rows
        if cache is not None:
            keys, values = (part.repeat(each, 1, 1, 1) for part in self.cache[layer])
            cache.update(keys, values)
        if layer + 1 == start:
            return self.hidden[start].repeat(each, 1, 1)
        return self.hidden[start][:1]
