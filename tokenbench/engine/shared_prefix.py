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
from tokenbench.engine.cache import cache_name
from tokenbench.engine.layer_parts import Keys, last_token, read_keys
from tokenbench.engine.pruned_layer import PrunedLayer
from tokenbench.engine.replay import hide
from tokenbench.engine.segment import by_head, by_token, causal_mask, take

__all__ = ["SharedPrefix"]


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
        prefix_states, question_states = self._split(hidden)
        of_prefixes, of_questions = self._arguments(arguments, hidden, tap.attention, unseen)
        prefix_keys, heard = Keys(), list[Attended]()
        tap.listen(attention, None)
        prefixes = forward(prefix_states, **{**of_prefixes, cache_name(arguments): prefix_keys})
        assert prefix_keys.held is not None
        all_keys = Keys(*(partial(self._heads_by_row, part) for part in prefix_keys.held))
        tap.listen(attention, heard.append if listener else None)
        questions = forward(question_states, **{**of_questions, cache_name(arguments): all_keys})
        tap.listen(attention, None)
        assert all_keys.held is not None
        if cache is not None:
            cache.update(*all_keys.held)
        if listener is not None:
            (one,) = heard
            query = pad(one.query, (0, 0, hidden.shape[1] - self._question, 0))  # nobody asks for the prefix's
            listener(Attended(query, one.key, one.scaling))
        return self._by_row(prefixes, questions)

    def run_last(
        self,
        forward: Callable[..., Tensor],
        attention: nn.Module,
        hidden: Tensor,
        arguments: dict[str, Any],
        tap: AttentionTap,
        cache: PrunedLayer,
        unseen: Tensor | None = None,
    ) -> Tensor:
        """Run the last decoder layer and return its output [B, 1, C] for the last tokens; arguments as for `run`."""
        given = self._arguments(arguments, hidden, tap.attention, unseen)
        pairs = [
            read_keys(forward, attention, states, own, tap)
            for states, own in zip(self._split(hidden), given, strict=True)
        ]
        keys, values = (self._heads_by_row(*pair) for pair in zip(*pairs, strict=True))
        cache.update(keys, values)
        return forward(hidden[:, -1:], **last_token(given[1], (keys, values)))

    def _split(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """[B, n, C] -> the states of the prefixes [F, p, C] and of the questions [B, q, C]."""
        firsts, columns = self._firsts.to(hidden.device), self._columns.to(hidden.device)
        return take(hidden[firsts], columns), hidden[:, -self._question :]

    def _arguments(
        self, stock: dict[str, Any], hidden: Tensor, attention: str, unseen: Tensor | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """A layer's arguments for the prefixes and for the questions."""
        rope = [part.expand(len(hidden), -1, -1) for part in stock["position_embeddings"]]

        def change(parts: Sequence[Tensor], mask: Tensor | None) -> dict[str, Any]:
            return {**stock, "position_embeddings": tuple(parts), "position_ids": None, "attention_mask": mask}

        def mask(valid: Tensor, queries: int, padded: bool) -> Tensor | None:
            valid = valid.to(hidden.device)
            return causal_mask(valid, queries, padded=padded, attention=attention, dtype=hidden.dtype)

        seen = mask(self._valid, self._question, True)
        if unseen is not None and seen is not None:
            seen = hide(seen, unseen[:, None, None])
        prefixes, questions = zip(*map(self._split, rope), strict=True)
        return change(prefixes, mask(self._prefix_valid, self._prefix, self._padded)), change(questions, seen)

    def _by_row(self, prefixes: Tensor, questions: Tensor) -> Tensor:
        """[B, n, C] of the tokens of prefixes and questions."""
        at = self._at.to(questions.device)
        tokens = torch.cat([prefixes.flatten(0, 1), questions.flatten(0, 1)])
        return tokens.index_select(0, at.flatten()).view(*at.shape, -1)

    def _heads_by_row(self, prefixes: Tensor, questions: Tensor) -> Tensor:
        """[B, H, n, D] of the tokens of prefixes and questions."""
        return by_head(self._by_row(by_token(prefixes), by_token(questions)), questions.shape[1])
