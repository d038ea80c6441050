"""Rows that share prefixes, laid end to end without padding: where each token stands there, and in which row it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.functional import pad

from tokenbench.engine.pruned_layer import ROOM

__all__ = ["Packing"]


@dataclass(frozen=True)
class Packing:
    """The N tokens of F prefixes and of B questions, one after the other.

    Every index is right-aligned; at padding it names some token, and the mask beside it says so.
    """

    packed: Tensor
    """[N] where the tokens stand among those of all rows [B * n]."""
    prefixes: Tensor
    """[F, p] which tokens the prefixes are."""
    prefix_valid: Tensor
    """[F, p] False at padding."""
    questions: Tensor
    """[B, q] which tokens the questions are. A shorter one begins with the end of its prefix."""
    rows: Tensor
    """[B, n] which tokens the rows are."""
    valid: Tensor
    """[B, n] False at padding."""
    rows_with_room: Tensor
    """[B, n + ROOM] the same, with places behind them for what follows."""
    unpadded: Tensor
    """[N] where the tokens stand among the padded prefixes [F * p], followed by the padded questions [B * q]."""

    @classmethod
    def of(cls, first_alike: Sequence[int], lengths: Sequence[int], questions: Sequence[int], width: int) -> Packing:
        """Lay rows end to end.

        Args:
            first_alike: Of every row, the first row with the same prefix.
            lengths: Of every row, its tokens.
            questions: Of every row, its tokens after the prefix.
            width: n.
        """
        firsts, asked = sorted(set(first_alike)), list(questions)
        shown = [lengths[b] - asked[b] for b in firsts]
        ends = list(accumulate([*shown, *asked]))  # of every prefix, then of every question
        p, q, f = max(shown), max(asked), len(firsts)
        of_prefix = {b: ends[at] for at, b in enumerate(firsts)}

        place = torch.arange(width)
        to_question = width - _column(asked)  # the first column of each question
        in_prefix = _column([of_prefix[b] for b in first_alike]) - to_question + place
        in_question = _column(ends[f:]) - width + place
        valid = place >= width - _column(lengths)
        rows = torch.where(place < to_question, in_prefix, in_question).where(valid, 0)
        prefix_valid = torch.arange(p) >= p - _column(shown)
        # Where each prefix ends in its row, and where it ends among the padded ones; then the same of each question.
        in_rows = [(b + 1) * width - asked[b] for b in firsts] + [(b + 1) * width for b in range(len(asked))]
        in_padded = [(at + 1) * p for at in range(f)] + [f * p + (b + 1) * q for b in range(len(asked))]
        counts = [*shown, *asked]
        return cls(
            packed=_stretches(in_rows, counts),
            prefixes=(_column(ends[:f]) - p + torch.arange(p)).where(prefix_valid, 0),
            prefix_valid=prefix_valid,
            questions=rows[:, width - q :],
            rows=rows,
            valid=valid,
            rows_with_room=pad(rows, (0, ROOM)),
            unpadded=_stretches(in_padded, counts),
        )

    def to(self, device: torch.device) -> Packing:
        """The same on a device."""
        return Packing(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def _column(numbers: Sequence[int]) -> Tensor:
    return torch.tensor(numbers).unsqueeze(1)


def _stretches(ends: Sequence[int], counts: Sequence[int]) -> Tensor:
    """The numbers of stretches that end there and have so many of them, one after the other."""
    shifts = torch.tensor([end - total for end, total in zip(ends, accumulate(counts), strict=True)])
    return shifts.repeat_interleave(torch.tensor(counts)) + torch.arange(sum(counts))
