"""Shared-prefix prefill: rows that ask about the same image compute the tokens before their questions once.

In a causal decoder the states before a question do not depend on it. Every layer runs on the distinct prefixes, then
on all questions, which attend to the keys of their prefix; what the rest of the engine sees has its usual shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from tokenbench.engine.attention_tap import Attended, AttentionTap, Listener
from tokenbench.engine.cache import PrunedLayer, cache_name
from tokenbench.engine.replay import hide
from tokenbench.engine.segment import by_head, by_token, causal_mask, take

__all__ = ["SharedPrefix"]


class _Keys:
    """Stands in for a cache while questions attend to the keys of their prefix.

    Args:
        extend: Turns a call's own keys, or its values, into all those that the call attends to.
    """

    def __init__(self, *extend: Callable[[Tensor], Tensor]) -> None:
        self._extend = extend
        self.held: tuple[Tensor, Tensor] | None = None

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if self._extend:
            keys, values = self._extend[0](keys), self._extend[1](values)
        self.held = keys, values
        return self.held


class SharedPrefix:
    """Rows [B, n], right-aligned, as prefixes (up to the last visual token) and questions.

    Args:
        first_alike: Of every row, the first row with the same prefix.
        lengths: Of every row, its tokens.
        questions: Of every row, its tokens after the prefix.
        width: n.
        device: Where the segment is.
    """

    def __init__(
        self,
        first_alike: Sequence[int],
        lengths: Sequence[int],
        questions: Sequence[int],
        width: int,
        device: torch.device,
    ) -> None:
        firsts = sorted(set(first_alike))
        prefixes = [length - question for length, question in zip(lengths, questions, strict=True)]
        self._prefix, self._question = max(prefixes[b] for b in firsts), max(questions)
        self._padded = min(prefixes[b] for b in firsts) < self._prefix
        self._firsts = torch.tensor(firsts, device=device)
        self._valid = torch.arange(width, device=device) >= width - torch.tensor(lengths, device=device).unsqueeze(1)
        of = torch.tensor([firsts.index(b) for b in first_alike], device=device)
        row = torch.arange(len(first_alike), device=device).unsqueeze(1)
        place, column = torch.arange(self._prefix, device=device), torch.arange(width, device=device)
        ends = width - torch.tensor(questions, device=device).unsqueeze(1)
        # Right-aligned, like the rows; what is left of a shorter one is padding.
        self._columns = (ends[self._firsts] - self._prefix + place).clamp(min=0)
        self._prefix_valid = place >= self._prefix - torch.tensor([[prefixes[b]] for b in firsts], device=device)
        # Where every row's columns stand among the tokens of all prefixes, then of all questions.
        in_prefix = of.unsqueeze(1) * self._prefix + (column - ends + self._prefix).clamp(min=0)
        in_question = len(firsts) * self._prefix + row * self._question + (column - width + self._question)
        self._at = torch.where(column < ends, in_prefix, in_question)

    @classmethod
    def of(
        cls,
        first_alike: Sequence[int],
        lengths: Sequence[int],
        questions: Sequence[int],
        width: int,
        device: torch.device,
    ) -> SharedPrefix | None:
        """Make the shared prefix of these rows; None if sharing saves nothing. The arguments are those of the class."""
        firsts = set(first_alike)
        if len(firsts) == len(first_alike):
            return None
        longest = max(lengths[b] - questions[b] for b in firsts)
        if len(firsts) * longest + len(first_alike) * max(questions) >= len(first_alike) * width:
            return None
        return cls(first_alike, lengths, questions, width, device)

    def run(
        self,
        forward: Callable[..., Tensor],
        attention: nn.Module,
        hidden: Tensor,
        arguments: dict[str, Any],
        tap: AttentionTap,
        listener: Listener | None,
        cache: PrunedLayer | None,
        unseen: Tensor | None = None,
    ) -> Tensor:
        """Run one decoder layer and return its output [B, n, C].

        Args:
            forward: The layer's stock forward.
            attention: Its attention module.
            hidden: [B, n, C] its input.
            arguments: What it would run all rows with.
            tap: What listens to the attention.
            listener: Who wants to know of the attention.
            cache: Where the layer's keys and values go.
            unseen: [B, n] tokens that are hidden from the questions; None if none are.
        """
        firsts, columns, at = (index.to(hidden.device) for index in (self._firsts, self._columns, self._at))
        rope = [part.expand(len(at), -1, -1) for part in arguments["position_embeddings"]]

        def mask(valid: Tensor, queries: int, padded: bool) -> Tensor | None:
            valid = valid.to(hidden.device)
            return causal_mask(valid, queries, padded=padded, attention=tap.attention, dtype=hidden.dtype)

        def by_row(prefixes: Tensor, questions: Tensor) -> Tensor:
            """[B, n, C] of the tokens of prefixes and questions."""
            tokens = torch.cat([prefixes.flatten(0, 1), questions.flatten(0, 1)])
            return tokens.index_select(0, at.flatten()).view(*at.shape, -1)

        def heads_by_row(prefixes: Tensor, questions: Tensor) -> Tensor:
            return by_head(by_row(by_token(prefixes), by_token(questions)), questions.shape[1])

        prefix_keys = _Keys()
        tap.listen(attention, None)
        prefixes = forward(
            take(hidden[firsts], columns),
            **_change_arguments(arguments, [take(part[firsts], columns) for part in rope], prefix_keys),
            attention_mask=mask(self._prefix_valid, self._prefix, self._padded),
        )
        assert prefix_keys.held is not None

        heard: list[Attended] = []
        all_keys = _Keys(*(partial(heads_by_row, part) for part in prefix_keys.held))
        tap.listen(attention, heard.append if listener else None)
        seen = mask(self._valid, self._question, True)
        questions = forward(
            hidden[:, -self._question :],
            **_change_arguments(arguments, [part[:, -self._question :] for part in rope], all_keys),
            attention_mask=seen if unseen is None or seen is None else hide(seen, unseen[:, None, None]),
        )
        tap.listen(attention, None)
        assert all_keys.held is not None
        if cache is not None:
            cache.update(*all_keys.held)
        if listener is not None:
            (one,) = heard
            query = pad(one.query, (0, 0, at.shape[1] - self._question, 0))  # nobody asks for the prefix's
            listener(Attended(query, one.key, one.scaling))
        return by_row(prefixes, questions)


def _change_arguments(stock: dict[str, Any], rope: Sequence[Tensor], keys: _Keys) -> dict[str, Any]:
    """A layer's arguments without the mask, with these position embeddings and keys."""
    changed = {"position_embeddings": tuple(rope), cache_name(stock): keys, "position_ids": None}
    return {**{name: value for name, value in stock.items() if name != "attention_mask"}, **changed}
