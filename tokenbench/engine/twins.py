"""Rows that begin alike, several questions on one image: what comes before the questions is computed once.

In a causal decoder the states before a question do not depend on it. Every layer runs on the distinct beginnings, then on all
questions, which attend to the keys of their beginning; what the rest of the engine sees has its usual shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tokenbench.engine.cache import PrunedLayer, cache_name
from tokenbench.engine.probe import Attended, Listener, Probe
from tokenbench.engine.segment import causal_mask, take

__all__ = ["Twins"]


class _Keys:
    """Stands in for a cache: puts keys and values before those of a call, and remembers the call's own."""

    def __init__(self, before: tuple[Tensor, Tensor] | None = None) -> None:
        self._before = before
        self.own: tuple[Tensor, Tensor] | None = None

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        self.own = (keys, values)
        if self._before is None:
            return self.own
        return torch.cat([self._before[0], keys], 2), torch.cat([self._before[1], values], 2)


class Twins:
    """One prompt [B, S], padded on the left, whose beginnings (up to the last visual token) are equally long.

    same: of every row, the first row that begins like it. valid: [B, S]. after: of every row, its first column after the beginning.
    """

    def __init__(self, same: Sequence[int], valid: Tensor, after: Sequence[int]) -> None:
        device, width = valid.device, valid.shape[1]
        self._firsts = torch.tensor(sorted(set(same)), device=device)
        self._of = torch.searchsorted(self._firsts, torch.tensor(same, device=device))
        starts = width - valid.sum(1)
        ends = torch.tensor(after, device=device)
        self._length = int(ends[0] - starts[0])
        self._columns = starts.unsqueeze(1) + torch.arange(self._length, device=device)
        self._questions = torch.arange(min(after), width, device=device)
        asked = self._questions >= ends.unsqueeze(1)
        self._keys_valid = torch.cat([torch.ones_like(self._columns, dtype=torch.bool), asked], 1)

    @staticmethod
    def fit(same: Sequence[int], valid: Tensor, after: Sequence[int]) -> bool:
        """Whether there is anything to share, in rows that can share it."""
        lengths = torch.tensor(after, device=valid.device) - (valid.shape[1] - valid.sum(1))
        return len(set(same)) < len(same) and bool((lengths == lengths[0]).all())

    def run(
        self,
        forward: Callable[..., Tensor],
        attention: nn.Module,
        hidden: Tensor,
        arguments: dict[str, Any],
        probe: Probe,
        listener: Listener | None,
        cache: PrunedLayer | None,
    ) -> Tensor:
        """One decoder layer: its output [B, S, C], its keys in `cache`, what `listener` asked for told to it.

        forward, attention: the layer's own. arguments: the stock ones.
        """
        of, questions = self._of.to(hidden.device), self._questions.to(hidden.device)
        columns = self._columns.to(hidden.device)
        first_columns = columns[self._firsts.to(hidden.device)]
        rope = [part.expand(len(columns), -1, -1) for part in arguments["position_embeddings"]]

        beginnings, begun = _Keys(), torch.ones_like(first_columns, dtype=torch.bool)
        firsts = self._firsts.to(hidden.device)
        probe.listen(attention, None)
        start = forward(
            take(hidden[firsts], first_columns),
            **_arguments(arguments, [take(part[firsts], first_columns) for part in rope], beginnings),
            attention_mask=causal_mask(
                begun, self._length, padded=False, attention=probe.attention, dtype=hidden.dtype
            ),
        )
        assert beginnings.own is not None

        heard: list[Attended] = []
        asked = _Keys((beginnings.own[0][of], beginnings.own[1][of]))
        probe.listen(attention, heard.append if listener else None)
        valid = self._keys_valid.to(hidden.device)
        rest = forward(
            hidden[:, questions],
            **_arguments(arguments, [part[:, questions] for part in rope], asked),
            attention_mask=causal_mask(
                valid, len(questions), padded=True, attention=probe.attention, dtype=hidden.dtype
            ),
        )
        probe.listen(attention, None)
        assert asked.own is not None

        def whole(begun: Tensor, own: Tensor) -> Tensor:
            """[B, H, S, D] of [U, H, P, D] and [B, H, Q, D]."""
            joined = own.new_zeros(*own.shape[:2], hidden.shape[1], own.shape[3])
            joined[:, :, questions] = own
            at = columns[:, None, :, None].expand(-1, own.shape[1], -1, own.shape[3])
            return joined.scatter_(2, at, begun[of])

        keys, values = (whole(b, o) for b, o in zip(beginnings.own, asked.own, strict=True))
        if cache is not None:
            cache.update(keys, values)
        if listener is not None:
            (one,) = heard
            query = one.query.new_zeros(*one.query.shape[:2], hidden.shape[1], one.query.shape[3])
            query[:, :, questions] = one.query
            listener(Attended(query, keys, one.scaling))
        return whole(start.unsqueeze(1), rest.unsqueeze(1))[:, 0]


def _arguments(stock: dict[str, Any], rope: Sequence[Tensor], keys: _Keys) -> dict[str, Any]:
    """A layer's arguments but for the mask."""
    changed = {"position_embeddings": tuple(rope), cache_name(stock): keys, "position_ids": None}
    return {**{name: value for name, value in stock.items() if name != "attention_mask"}, **changed}
