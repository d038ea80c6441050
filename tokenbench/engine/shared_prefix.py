"""Shared-prefix prefill: rows that ask about the same image compute the tokens before their questions once.

In a causal decoder the states before a question do not depend on it. Every layer runs once, on the distinct prefixes and all
questions laid end to end without padding; only their attention is computed apart. What the rest of the engine sees has its
usual shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from tokenbench.engine.attention_tap import Attended, AttentionTap, Call, Listener, read_scaling
from tokenbench.engine.cache import cache_name
from tokenbench.engine.layer_parts import Keys, last_token, read_keys
from tokenbench.engine.packing import Packing
from tokenbench.engine.pruned_layer import PrunedLayer
from tokenbench.engine.replay import hide
from tokenbench.engine.segment import by_head, by_token, causal_mask, take_flat

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
        self._width, self._padded = width, len({lengths[b] - questions[b] for b in first_alike}) > 1
        self._on = {device: Packing.of(first_alike, lengths, questions, width).to(device)}
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
        if tokens > (1 - LEAST_SAVED) * len(first_alike) * width or not max(questions):
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
        tap.detour(attention, partial(self._attend, prefix_mask, mask, listener))
        packed = self._pack_arguments(arguments, hidden)
        output = forward(self._pack(hidden), **{**packed, cache_name(arguments): keys})
        assert keys.held is not None
        if cache is not None:
            self._fill(cache, keys.held)
        return take_flat(output, self._packing(output.device).rows)

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
        self, prefix_mask: Tensor | None, mask: Tensor | None, listener: Listener | None, call: Call
    ) -> tuple[Tensor, None]:
        """The attention of prefixes to themselves, and of questions to their prefix and themselves: a `Detour`."""
        query, key, value = call.query, call.key, call.value
        packing = self._packing(query.device)
        prefix_mask, mask = (one if one is None else one.to(query.device) for one in (prefix_mask, mask))
        of_prefixes = (_take_heads(part, packing.prefixes) for part in (query, key, value))
        prefixes, _ = call.stock(*of_prefixes, prefix_mask, **call.kwargs)
        asking, keys, values = (
            _take_heads(part, at)
            for part, at in ((query, packing.questions), (key, packing.rows), (value, packing.rows))
        )
        questions, _ = call.stock(asking, keys, values, mask, **call.kwargs)
        if listener is not None:
            padded = pad(asking, (0, 0, self._width - asking.shape[2], 0))  # nobody asks for the prefix's
            with torch.no_grad():
                listener(Attended(padded, keys, read_scaling(query, call.kwargs)))
        outputs = torch.cat([prefixes.flatten(0, 1), questions.flatten(0, 1)])
        return outputs.index_select(0, packing.unpadded).unsqueeze(0), None

    def _fill(self, cache: PrunedLayer, held: tuple[Tensor, Tensor]) -> None:
        """Store the keys and values of every row."""
        keys, values = (_take_heads(part, self._packing(part.device).rows_with_room) for part in held)
        cache.fill(keys, values, self._width)

    def _packing(self, device: torch.device) -> Packing:
        if device not in self._on:  # the decoder's layers may stand on several
            self._on[device] = next(iter(self._on.values())).to(device)
        return self._on[device]

    def _pack(self, tokens: Tensor) -> Tensor:
        """[1, N, C] of tokens [B, n, C]."""
        return take_flat(tokens, self._packing(tokens.device).packed.unsqueeze(0))

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
            packing = self._packing(hidden.device)

            def mask(valid: Tensor, queries: int, padded: bool) -> Tensor | None:
                return causal_mask(valid, queries, padded=padded, attention=attention, dtype=hidden.dtype)

            seen = mask(packing.valid, packing.questions.shape[1], True)
            if unseen is not None and seen is not None:
                seen = hide(seen, unseen[:, None, None])
            self._made[key] = mask(packing.prefix_valid, packing.prefixes.shape[1], self._padded), seen
        return self._made[key]


def _take_heads(heads: Tensor, at: Tensor) -> Tensor:
    """[a, H, b, D] of the heads [1, H, N, D] of tokens."""
    return by_head(take_flat(by_token(heads), at), heads.shape[1])
