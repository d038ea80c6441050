"""What several prefills have in common: everything before their first stages, computed once by the unpruned one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from tokenbench.contract.strategy import Attn, Stage

__all__ = ["Prefix", "Wanted"]


@dataclass(frozen=True)
class Wanted:
    """What schedules read before their first stages. depths: hidden states. keys: layers. attention: (row, request)."""

    depths: frozenset[int] = frozenset()
    keys: frozenset[int] = frozenset()
    attention: tuple[tuple[int, Attn], ...] = ()

    @classmethod
    def of(cls, rows: Iterable[Sequence[Sequence[Stage]]]) -> Wanted:
        """Of every row: the schedules that will go on from its prefix."""
        depths: set[int] = set()
        keys: set[int] = set()
        attention: dict[tuple[int, Attn], None] = {}
        for b, schedules in enumerate(rows):
            for stages in schedules:
                first = stages[0].layer
                depths.add(first)
                for stage in stages:
                    depths.update(depth for depth in (*stage.hidden, *stage.text) if depth <= first)
                    keys.update(layer for layer in stage.keys if layer < first)
                    asked = (a for a in stage.attention if a.layer < first and not a.peek and a.rows != "prior")
                    attention.update(dict.fromkeys((b, request) for request in asked))
        return cls(frozenset(depths), frozenset(keys), tuple(attention))


@dataclass
class Prefix:
    """The unpruned prefill of B rows, as far as others go on from it.

    hidden: {depth: [B, S, C]}. keys: {layer: [B, S, D]}. attention: {(row, request): [heads, rows, S]}.
    cache: keys and values [B, H, S, D] of the first layers.
    """

    rows: int
    hidden: dict[int, Tensor] = field(default_factory=dict)
    keys: dict[int, Tensor] = field(default_factory=dict)
    attention: dict[tuple[int, Attn], Tensor] = field(default_factory=dict)
    cache: list[tuple[Tensor, Tensor]] = field(default_factory=list)
