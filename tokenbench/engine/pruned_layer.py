"""A KV cache layer that stores n tokens and answers N.

generate(), position ids and stock masks read the cache's length. They keep on counting the original prompt, whatever
was dropped, and every layer may hold a different number of tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

from tokenbench.engine.segment import Segment, by_head, by_token, take_flat
from tokenbench.errors import UsageError

__all__ = ["ROOM", "PrunedLayer"]

ROOM = 16
"""Further tokens for which there is room after a copy, at least; of long prompts, an eighth of their length."""


class PrunedLayer(DynamicLayer):
    """Keys and values of one decoder layer after pruning."""

    def __init__(self) -> None:
        super().__init__()
        self.valid: Tensor | None = None
        """[B, n] which of the prompt's n stored tokens are real, not padding."""
        self.columns: Tensor | None = None
        """[B, n] the columns of the prompt that they are."""
        self.prompt = 0
        """Columns of the whole prompt."""
        self.shift: Tensor | None = None
        """[B] of the segment."""
        self.dropped = 0
        """How many tokens the layer claims to hold beyond those that it stores."""
        self.padded = False
        """Whether some row is padded."""
        self.compact = False
        """Whether some row's later positions are shifted."""
        self.full = True
        """Whether it holds the whole prompt, as a stock cache would."""
        self.trimmed = False
        """Whether it lost tokens that its own layer has seen."""
        self.text = 0
        """Tokens that every row has after its visual ones."""
        self.pruned = False
        """Whether some layer of the same cache dropped something, so that only the hooks know how to go on from it."""
        self.awaited = False
        """Whether the hooks have prepared the next update."""
        self._keys: Tensor | None = None  # what holds the keys, with room for more of them
        self._values: Tensor | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Store keys and values, and return all that the queries attend to."""
        if self.is_initialized:
            if self.pruned and not self.awaited:
                raise UsageError(
                    "this KV cache was pruned; the positions and masks of further tokens are correct inside pruned() only",
                    "finish generating inside the context, or continue from the cache inside another one",
                )
            self.awaited = False
            assert self.keys is not None and self.values is not None
            self.keys, self._keys = _append(self.keys, key_states, self._keys)
            self.values, self._values = _append(self.values, value_states, self._values)
            return self.keys, self.values
        # The prompt's own are kept as they are; the stock layer would copy them.
        self.lazy_initialization(key_states, value_states)
        self.keys, self.values = key_states, value_states
        return key_states, value_states

    def fill(self, keys: Tensor, values: Tensor, n: int) -> None:
        """Store the prompt's n tokens, which are the first of keys and values [B, H, m, D]: the rest is room for what follows."""
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys[:, :, :n], values[:, :, :n]
        self._keys, self._values = keys, values

    def describe(self, segment: Segment, prompt: int, text: int) -> None:
        """Announce what the layer is about to store.

        Args:
            segment: The tokens that it will store.
            prompt: Columns of the whole prompt.
            text: The least number of words with which any row of the prompt ends.
        """
        self.valid, self.columns, self.shift = segment.valid, segment.columns, segment.shift
        self.prompt = prompt
        self.dropped = prompt - segment.valid.shape[1]
        self.padded, self.full, self.text = segment.padded, segment.full, text
        self.compact = segment.compact

    def trim(self, places: Tensor, columns: Tensor, valid: Tensor, padded: bool) -> None:
        """Keep some of the stored tokens and forget the others.

        Args:
            places: [B, m] the tokens to keep, among those of all rows.
            columns: [B, m] the columns of the prompt that they are.
            valid: [B, m] False where a row is padded.
            padded: Whether any row is padded.
        """
        assert self.keys is not None and self.values is not None
        self.dropped += self.keys.shape[2] - places.shape[1]
        self.keys = by_head(take_flat(by_token(self.keys), places), self.keys.shape[1])
        self.values = by_head(take_flat(by_token(self.values), places), self.values.shape[1])
        self._keys = self._values = None
        self.columns, self.valid = columns, valid
        self.padded, self.full, self.trimmed = padded, False, True

    def crop(self, length: int) -> None:
        """Forget the last tokens.

        Args:
            length: How many tokens to forget, as a negative number; or, as transformers 5.23 has it, how many to keep.

        Raises:
            UsageError: If tokens of the prompt would be forgotten whose absence changes what is left.
        """
        gone = -length if length <= 0 else max(0, self.get_seq_length() - length)
        if gone == 0 or self.keys is None or self.values is None:
            return
        stored = self.keys.shape[2] - gone
        own = 0 if self.valid is None else max(0, self.valid.shape[1] - stored)
        if self.pruned and own and (self.trimmed or own > self.text):
            raise UsageError(
                f"the last {gone} tokens cannot be cropped from a pruned KV cache: {own} of them belong to its prompt",
                "crop generated tokens only, or run the prompt again",
            )
        if self.valid is not None and self.columns is not None and own:
            self.valid, self.columns, self.text = self.valid[:, :stored], self.columns[:, :stored], self.text - own
            self.prompt -= own
        self.keys, self.values = self.keys[:, :, :stored], self.values[:, :, :stored]

    def seen(self, queries: int) -> Tensor:
        """[B, stored + queries] validity of the keys that `queries` further tokens will meet."""
        assert self.valid is not None and self.keys is not None
        later = self.keys.shape[2] - self.valid.shape[1] + queries
        return torch.nn.functional.pad(self.valid, (0, later), value=True)

    def all_columns(self, queries: int) -> Tensor:
        """[B, stored + queries] columns of these keys in the prompt and what followed it, as stock masks count them."""
        assert self.columns is not None and self.keys is not None
        later = torch.arange(self.keys.shape[2] - self.columns.shape[1] + queries, device=self.columns.device)
        return torch.cat([self.columns, (self.prompt + later).expand(len(self.columns), -1)], 1)

    def get_seq_length(self) -> int:
        """The length that generate() sees: that of the whole prompt and of what followed it."""
        stored: int = super().get_seq_length()
        return stored + self.dropped if stored else 0

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.__init__()  # type: ignore[misc]

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Reorder the rows, as beam search does."""
        super().reorder_cache(beam_idx)  # type: ignore[arg-type]
        self._change_rows(lambda rows: rows.index_select(0, beam_idx.to(rows.device)))

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row."""
        super().batch_repeat_interleave(repeats)
        self._change_rows(lambda rows: rows.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some rows."""
        super().batch_select_indices(indices)
        self._change_rows(lambda rows: rows[indices.to(rows.device)])

    def _change_rows(self, change: Any) -> None:
        self._keys = self._values = None  # these hold the rows that were
        if self.valid is not None and self.columns is not None and self.shift is not None:
            self.valid, self.columns, self.shift = map(change, (self.valid, self.columns, self.shift))


def _append(held: Tensor, new: Tensor, room: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Put further tokens behind those that are held: the stock layer would copy all of them at every step.

    Args:
        held: [B, H, n, D] the keys, or the values, so far.
        new: [B, H, q, D] those of further tokens.
        room: [B, H, m, D] where they may be held; None, or another's, if they are not.

    Returns:
        All of them, and where they are held.
    """
    if torch.is_grad_enabled():  # a backward pass reads every step's own
        return torch.cat([held, new], 2), None
    start, end = held.shape[2], held.shape[2] + new.shape[2]
    fits = room is not None and room.data_ptr() == held.data_ptr() and room.stride() == held.stride()
    if room is None or not fits or end > room.shape[2]:
        room = held.new_empty(*held.shape[:2], end + max(ROOM, start // 8), held.shape[3])
        room[:, :, :start] = held
    room[:, :, start:end] = new
    return room[:, :, :end], room
