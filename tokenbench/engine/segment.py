"""Which columns of the prompt are still in the decoder, row by row, and what attention needs to know of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Segment", "by_head", "by_token", "causal_mask", "flatten", "move", "pack", "take", "take_flat"]


def pack(keep: Tensor, m: int, rank: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Right-align the kept tokens of every row.

    Shorter rows are padded on the left with indices of tokens that are not kept.

    Args:
        keep: [B, n] True at the tokens to keep.
        m: How many tokens the longest row keeps.
        rank: [B, n] what the kept tokens are put in order by; None leaves them in theirs.

    Returns:
        The index [B, m] of the kept tokens, and valid [B, m], which is False at the padding.
    """
    key = keep.byte() if rank is None else torch.where(keep, rank, -1)
    index = key.argsort(dim=1, stable=True)[:, keep.shape[1] - m :]
    return index, keep.gather(1, index)


def flatten(index: Tensor, width: int, rows: Tensor | None = None) -> Tensor:
    """Places among the tokens of all rows, laid end to end.

    Args:
        index: [G, m] places in each row.
        width: Tokens of a row.
        rows: [G] the rows; None for the first G, in order.
    """
    if rows is None and len(index) == 1:
        return index
    starts = torch.arange(0, len(index) * width, width, device=index.device) if rows is None else rows * width
    return index + starts.unsqueeze(1)


def take(states: Tensor, index: Tensor) -> Tensor:
    """Take the tokens at index [B, m] of states [B or 1, n, C]: [B, m, C]."""
    return take_flat(states, flatten(index, states.shape[1]) if len(states) > 1 else index)


def take_flat(states: Tensor, places: Tensor) -> Tensor:
    """Take the tokens at places [G, m], as `flatten` has them, of states [B, n, C]: [G, m, C]."""
    # Whole rows at once: many times faster than gather().
    chosen = _lay_end_to_end(states, 2).index_select(0, move(_lay_end_to_end(places, 2), states.device))
    return chosen.view(*places.shape, -1)


def move(values: Tensor, device: torch.device) -> Tensor:
    """The same values on a device."""
    return values if values.device == device else values.to(device)


def _lay_end_to_end(values: Tensor, dims: int) -> Tensor:
    """The values with their first dimensions as one; a view where there can be one."""
    if values.is_contiguous():
        return values.view(-1, *values.shape[dims:])
    return values.flatten(0, dims - 1)


def by_token(heads: Tensor) -> Tensor:
    """[B, H, n, D] -> [B, n, H * D]: without a copy of what a projection made."""
    return heads.transpose(1, 2).flatten(2)


def by_head(tokens: Tensor, heads: int) -> Tensor:
    """[B, n, H * D] -> [B, H, n, D]."""
    return tokens.view(*tokens.shape[:2], heads, -1).transpose(1, 2)


@dataclass(frozen=True)
class Segment:
    """The tokens between two stages."""

    columns: Tensor
    """[B, n] columns of the prompt, right-aligned; ascending unless a strategy put its tokens into another order."""
    valid: Tensor
    """[B, n], False where a row is padded."""
    positions: Tensor
    """[B, n] columns whose position embeddings the tokens use: their own, or compacted ones."""
    shift: Tensor
    """[B] by how much later tokens' positions move to the left (0 for original positions)."""
    lengths: Sequence[int]
    """The number of tokens in each row."""
    compact: bool
    """Whether some shift may not be 0."""
    full: bool
    """Whether nothing was dropped yet, so that stock masks and positions hold."""

    @classmethod
    def whole(cls, valid: Tensor, lengths: Sequence[int]) -> Segment:
        """The unpruned prompt; valid [B, S] is the attention mask, lengths what its rows add up to."""
        columns = torch.arange(valid.shape[1], device=valid.device).expand_as(valid)
        shift = columns.new_zeros(len(valid))
        return cls(columns, valid, columns, shift, lengths, compact=False, full=True)

    @property
    def places(self) -> Tensor:
        """[B, n] columns of the prompt at which its masks are read: those of the tokens, in ascending order.

        A strategy that reorders visual tokens puts each in the place of another one.
        """
        if not self.compact:
            return self.columns
        return torch.where(self.valid, self.columns, -1).sort(dim=1).values.clamp(min=0)

    @property
    def padded(self) -> bool:
        """Whether some row is padded."""
        return min(self.lengths) < self.valid.shape[1]

    def find(self, columns: Tensor, rows: Tensor | None = None) -> Tensor:
        """Where [G, m] the tokens of the prompt's columns [G, m] stand in rows [G] (None: in all); they must be there."""
        if self.full:
            return columns
        held = torch.where(self.valid, self.columns, -1)
        held = held if rows is None else held.index_select(0, rows)
        order = held.argsort(dim=1)
        return order.gather(1, torch.searchsorted(held, columns, sorter=order).clamp(max=held.shape[1] - 1))

    def narrow(
        self, keep: Tensor, lengths: Sequence[int], compact: Sequence[bool], prompt: Tensor, rank: Tensor | None = None
    ) -> tuple[Segment, Tensor]:
        """Drop the tokens that are not named.

        Args:
            keep: [B, n] True at the tokens that stay; at no padding.
            lengths: Of every row, how many of its tokens stay.
            compact: Rows that renumber positions.
            prompt: [B, S] attention mask of the whole prompt.
            rank: [B, n] what the tokens are put in order by; None leaves them in theirs.

        Returns:
            The new segment, and the index [B, m] into this one's tokens.
        """
        index, valid = pack(keep, max(lengths), rank)
        columns = self.columns.gather(1, index)
        positions, shift = columns, self.shift
        if any(compact):
            length, count = prompt.sum(1), valid.cumsum(1)
            # The last token stays in the last column; what stands at padding plays no part.
            positions = (count + (prompt.shape[1] - 1 - length).unsqueeze(1)).clamp(min=0)
            shift = length - count[:, -1]
            if not all(compact):
                renumbered = torch.tensor(compact, device=keep.device)
                positions = torch.where(renumbered.unsqueeze(1), positions, columns)
                shift = torch.where(renumbered, shift, self.shift)
        return Segment(columns, valid, positions, shift, lengths, compact=any(compact), full=False), index


def causal_mask(valid: Tensor, queries: int, *, padded: bool, attention: str, dtype: torch.dtype) -> Tensor | None:
    """The mask that `attention` (an implementation's name) expects for the last `queries` of the keys valid [B, kv].

    None where the implementation's own causal rule says the same and is faster.
    """
    if "flash" in attention:
        return valid if padded else None
    keys = valid.shape[1]
    if not padded and attention != "eager" and queries in (1, keys):
        return None
    column = torch.arange(keys, device=valid.device)
    query = column[keys - queries :].unsqueeze(1)
    # A padding query sees itself, so that its row of the softmax stays finite.
    seen = (valid.unsqueeze(1) & (column <= query)) | (column == query)
    seen = seen.unsqueeze(1)
    if attention != "eager":
        return seen
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)
