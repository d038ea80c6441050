"""Shared-prefix prefill: rows that ask about the same image compute the tokens before their questions once.

In a causal decoder the states before a question do not depend on it. Every layer runs once, on the distinct prefixes and all
questions laid end to end without padding; only their attention is computed apart. What the rest of the engine sees has its
usual shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from tokenbench.engine.attention_tap import Attended, AttentionTap, Listener
from tokenbench.engine.cache import cache_name
from tokenbench.engine.layer_parts import Keys, last_token, read_keys
from tokenbench.engine.pruned_layer import ROOM, PrunedLayer
from tokenbench.engine.replay import hide
from tokenbench.engine.segment import by_head, by_token, causal_mask

__all__ = ["SharedPrefix"]

LEAST_SAVED = 0.02
"""The share of the tokens that must be saved: laying the others end to end takes time as well."""


class SharedPrefix:
    """Rows [B, n], right-aligned, as prefixes (up to the last visual token) and questions.

    N tokens are computed: those of the F distinct prefixes, then those of all questions.

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
        self._width, self._prefix, self._question = width, max(prefixes[b] for b in firsts), max(questions)
        self._padded = min(prefixes[b] for b in firsts) < self._prefix
        stretches = [(b, prefixes[b], questions[b]) for b in firsts] + [(b, n, 0) for b, n in enumerate(questions)]
        starts = [0, *accumulate(n for _, n, _ in stretches)]

        def columns(rows: Sequence[tuple[int, int]], n: int) -> Tensor:
            """[len(rows), n] where the last tokens of stretches (start, length) stand, right-aligned; 0 at padding."""
            at = torch.tensor([[start + length - n] for start, length in rows]) + torch.arange(n)
            return torch.where(at >= torch.tensor([[start] for start, _ in rows]), at, 0)

        of_prefix = {b: (starts[at], prefixes[b]) for at, b in enumerate(firsts)}
        of_question = [(starts[len(firsts) + b], n) for b, n in enumerate(questions)]
        place, column = torch.arange(width), width - torch.tensor(questions).unsqueeze(1)
        before = torch.tensor([[of_prefix[b][0] + of_prefix[b][1]] for b in first_alike]) - column + place
        valid = place >= width - torch.tensor(lengths).unsqueeze(1)
        rows = torch.where(place < column, torch.where(valid, before, 0), columns(of_question, width))
        # Where every token of the packed ones stands among the padded prefixes, then among the padded questions.
        ends = [(at + 1) * self._prefix for at in range(len(firsts))]
        ends += [len(firsts) * self._prefix + (b + 1) * self._question for b in range(len(questions))]
        index = {
            "prefixes": columns(list(of_prefix.values()), self._prefix),
            "questions": rows[:, width - self._question :],  # with the end of the prefix, where one is shorter
            "rows": rows,
            "rows with room": pad(rows, (0, ROOM)),
            "packed": _lay_out([((b + 1) * width - after, n) for b, n, after in stretches]),
            "unpadded": _lay_out([(end, n) for end, (_, n, _) in zip(ends, stretches, strict=True)]),
        }
        self._index = {name: value.to(device) for name, value in index.items()}
        self._valid = valid.to(device)
        self._prefix_valid = (
            torch.arange(self._prefix) >= self._prefix - torch.tensor([[prefixes[b]] for b in firsts])
        ).to(device)
        self._made: dict[Any, tuple[Any, Any]] = {}

    @classmethod
    def of(
        cls,
        first_alike: Sequence[int],
        lengths: Sequence[int],
        questions: Sequence[int],
        width: int,
        device: torch.device,
    ) -> SharedPrefix | None:
        """Make the shared prefix of these rows; None if that saves nothing. The arguments are those of the class."""
        tokens = sum(lengths[b] - questions[b] for b in set(first_alike)) + sum(questions)
        if tokens > (1 - LEAST_SAVED) * len(first_alike) * width:
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
        keys, (prefix_mask, mask) = Keys(), self._masks(hidden, tap.attention, unseen)
        tap.listen(attention, None)
        tap.detour(attention, partial(self._attend, prefix_mask, mask, listener))
        packed = self._pack_arguments(arguments, hidden)
        output = forward(self._pack(hidden), **{**packed, cache_name(arguments): keys})
        assert keys.held is not None
        if cache is not None:
            self._fill(cache, keys.held)
        return self._take(output[0], "rows")

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
        held = read_keys(forward, attention, self._pack(hidden), self._pack_arguments(arguments, hidden), tap)
        self._fill(cache, held)
        assert cache.keys is not None and cache.values is not None
        _, mask = self._masks(hidden, tap.attention, unseen)
        own = last_token({**arguments, "attention_mask": mask}, (cache.keys, cache.values))
        return forward(hidden[:, -1:], **own)

    def _attend(
        self,
        prefix_mask: Tensor | None,
        mask: Tensor | None,
        listener: Listener | None,
        stock: Callable[..., Any],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        _: Any,
        kwargs: dict[str, Any],
    ) -> tuple[Tensor, None]:
        """The attention of prefixes to themselves, and of questions to their prefix and themselves: a `Detour`."""
        of_prefixes = (self._take_heads(part, "prefixes") for part in (query, key, value))
        prefixes, _ = stock(*of_prefixes, prefix_mask, **kwargs)
        asking, keys = self._take_heads(query, "questions"), self._take_heads(key, "rows")
        questions, _ = stock(asking, keys, self._take_heads(value, "rows"), mask, **kwargs)
        if listener is not None:
            scaling = kwargs.get("scaling")
            padded = pad(asking, (0, 0, self._width - self._question, 0))  # nobody asks for the prefix's
            with torch.no_grad():
                listener(Attended(padded, keys, query.shape[-1] ** -0.5 if scaling is None else scaling))
        outputs = torch.cat([prefixes.flatten(0, 1), questions.flatten(0, 1)])
        return outputs.index_select(0, self._at("unpadded", outputs.device)).unsqueeze(0), None

    def _fill(self, cache: PrunedLayer, held: tuple[Tensor, Tensor]) -> None:
        """Store the keys and values of every row."""
        keys, values = (self._take_heads(part, "rows with room") for part in held)
        cache.fill(keys, values, self._width)

    def _at(self, name: str, device: torch.device) -> Tensor:
        return self._index[name].to(device)

    def _take(self, tokens: Tensor, name: str) -> Tensor:
        """[a, b, C] of tokens [N, C]."""
        at = self._at(name, tokens.device)
        return tokens.index_select(0, at.flatten()).view(*at.shape, -1)

    def _take_heads(self, heads: Tensor, name: str) -> Tensor:
        """[a, H, b, D] of the heads [1, H, N, D] of tokens."""
        return by_head(self._take(by_token(heads)[0], name), heads.shape[1])

    def _pack(self, tokens: Tensor) -> Tensor:
        """[1, N, C] of tokens [B, n, C]."""
        return tokens.flatten(0, 1).index_select(0, self._at("packed", tokens.device)).unsqueeze(0)

    def _pack_arguments(self, stock: dict[str, Any], hidden: Tensor) -> dict[str, Any]:
        """A layer's arguments for the tokens that are laid end to end."""
        rope = stock["position_embeddings"]
        key = id(rope), hidden.device
        if key not in self._made:
            packed = tuple(self._pack(part.expand(len(hidden), -1, -1)) for part in rope)
            self._made[key] = rope, packed  # the stock value is held, so that its id stays its own
        return {**stock, "position_embeddings": self._made[key][1], "position_ids": None, "attention_mask": None}

    def _masks(self, hidden: Tensor, attention: str, unseen: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """The masks of the prefixes and of the questions."""
        key = hidden.dtype, hidden.device
        if key not in self._made:

            def mask(valid: Tensor, queries: int, padded: bool) -> Tensor | None:
                valid = valid.to(hidden.device)
                return causal_mask(valid, queries, padded=padded, attention=attention, dtype=hidden.dtype)

            seen = mask(self._valid, self._question, True)
            if unseen is not None and seen is not None:
                seen = hide(seen, unseen[:, None, None])
            self._made[key] = mask(self._prefix_valid, self._prefix, self._padded), seen
        return self._made[key]


def _lay_out(stretches: Sequence[tuple[int, int]]) -> Tensor:
    """The places of stretches (end, length), one after the other."""
    return torch.from_numpy(np.concatenate([np.arange(end - n, end) for end, n in stretches]))
