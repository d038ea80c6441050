"""Rows that begin alike, several questions on one image: what comes before the questions is computed once.

In a causal decoder the states before a question do not depend on it. Every layer runs on the distinct beginnings, then on all
questions, which attend to the keys of their beginning; what the rest of the engine sees has its usual shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from tokenbench.engine.cache import PrunedLayer, cache_name
from tokenbench.engine.probe import Attended, Listener, Probe
from tokenbench.engine.segment import by_head, by_token, causal_mask, take

__all__ = ["Twins"]


class _Keys:
    """Stands in for a cache: `whole` makes the keys (or values) that a call attends to of its own, one after the other."""

    def __init__(self, *whole: Callable[[Tensor], Tensor]) -> None:
        self._whole = whole
        self.held: tuple[Tensor, Tensor] | None = None

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if self._whole:
            keys, values = self._whole[0](keys), self._whole[1](values)
        self.held = keys, values
        return self.held


class Twins:
    """Rows [B, n], right-aligned, as beginnings (up to the last visual token) and questions.

    same: of every row, the first row that begins like it. lengths, questions: of every row, its tokens, and those after its
    beginning. width: n.
    """

    def __init__(
        self, same: Sequence[int], lengths: Sequence[int], questions: Sequence[int], width: int, device: torch.device
    ) -> None:
        firsts = sorted(set(same))
        begun = [length - question for length, question in zip(lengths, questions, strict=True)]
        self._start, self._end = max(begun[b] for b in firsts), max(questions)
        self._padded = min(begun[b] for b in firsts) < self._start
        self._firsts = torch.tensor(firsts, device=device)
        self._valid = torch.arange(width, device=device) >= width - torch.tensor(lengths, device=device).unsqueeze(1)
        of = torch.tensor([firsts.index(b) for b in same], device=device)
        row = torch.arange(len(same), device=device).unsqueeze(1)
        place, column = torch.arange(self._start, device=device), torch.arange(width, device=device)
        ends = width - torch.tensor(questions, device=device).unsqueeze(1)
        # Right-aligned, like the rows; what is left of a shorter one is padding.
        self._columns = (ends[self._firsts] - self._start + place).clamp(min=0)
        self._begun = place >= self._start - torch.tensor([[begun[b]] for b in firsts], device=device)
        # Where every row's columns stand among the tokens of all beginnings, then of all questions.
        beginning = of.unsqueeze(1) * self._start + (column - ends + self._start).clamp(min=0)
        question = len(firsts) * self._start + row * self._end + (column - width + self._end)
        self._at = torch.where(column < ends, beginning, question)

    @classmethod
    def of(
        cls, same: Sequence[int], lengths: Sequence[int], questions: Sequence[int], width: int, device: torch.device
    ) -> Twins | None:
        """None if nothing is saved."""
        firsts = set(same)
        if len(firsts) == len(same):
            return None
        longest = max(lengths[b] - questions[b] for b in firsts)
        if len(firsts) * longest + len(same) * max(questions) >= len(same) * width:
            return None
        return cls(same, lengths, questions, width, device)

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
        """One decoder layer: its output [B, n, C], its keys in `cache`, what `listener` asked for told to it.

        forward, attention: the layer's own. arguments: what it would run all rows with.
        """
        firsts, columns, at = (index.to(hidden.device) for index in (self._firsts, self._columns, self._at))
        rope = [part.expand(len(at), -1, -1) for part in arguments["position_embeddings"]]

        def mask(valid: Tensor, queries: int, padded: bool) -> Tensor | None:
            valid = valid.to(hidden.device)
            return causal_mask(valid, queries, padded=padded, attention=probe.attention, dtype=hidden.dtype)

        def usual(begun: Tensor, own: Tensor) -> Tensor:
            """[B, n, C] of the beginnings' and the questions' tokens."""
            tokens = torch.cat([begun.flatten(0, 1), own.flatten(0, 1)])
            return tokens.index_select(0, at.flatten()).view(*at.shape, -1)

        def heads(begun: Tensor, own: Tensor) -> Tensor:
            return by_head(usual(by_token(begun), by_token(own)), own.shape[1])

        beginnings = _Keys()
        probe.listen(attention, None)
        start = forward(
            take(hidden[firsts], columns),
            **_arguments(arguments, [take(part[firsts], columns) for part in rope], beginnings),
            attention_mask=mask(self._begun, self._start, self._padded),
        )
        assert beginnings.held is not None

        heard: list[Attended] = []
        asked = _Keys(*(partial(heads, begun) for begun in beginnings.held))
        probe.listen(attention, heard.append if listener else None)
        rest = forward(
            hidden[:, -self._end :],
            **_arguments(arguments, [part[:, -self._end :] for part in rope], asked),
            attention_mask=mask(self._valid, self._end, True),
        )
        probe.listen(attention, None)
        assert asked.held is not None
        if cache is not None:
            cache.update(*asked.held)
        if listener is not None:
            (one,) = heard
            query = pad(one.query, (0, 0, at.shape[1] - self._end, 0))  # nobody asks for the beginning's
            listener(Attended(query, one.key, one.scaling))
        return usual(start, rest)


def _arguments(stock: dict[str, Any], rope: Sequence[Tensor], keys: _Keys) -> dict[str, Any]:
    """A layer's arguments but for the mask."""
    changed = {"position_embeddings": tuple(rope), cache_name(stock): keys, "position_ids": None}
    return {**{name: value for name, value in stock.items() if name != "attention_mask"}, **changed}
