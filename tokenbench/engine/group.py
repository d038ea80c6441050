"""Rows of a batch that a stage treats at once: what they have in common, and where their tokens are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from tokenbench.engine.layout import PromptColumns
from tokenbench.engine.segment import Segment, flatten, take_flat

__all__ = ["Group", "Recorded", "find_candidates"]


@dataclass(frozen=True)
class Recorded:
    """What was recorded of some rows."""

    values: Tensor
    """[A, ..., n, D], or weights [A, heads, queries, n]."""
    rows: Sequence[int]
    """Whose they are [A]."""
    segment: Segment
    """The n tokens."""
    repeats: int = 0
    """A prefill of more rows than were recorded goes on with row b modulo this; 0 if there is no such prefill."""

    def where(self, rows: Sequence[int]) -> list[int]:
        """Where these rows are among those that were recorded."""
        return [self.rows.index(b % self.repeats if self.repeats else b) for b in rows]


@dataclass(frozen=True)
class Group:
    """Rows of a batch whose candidates are equally many."""

    prompt: PromptColumns
    """The batch."""
    segment: Segment
    """The tokens that reach the stage."""
    rows: Sequence[int]
    """The rows [G]."""
    at: Tensor
    """[G, n] where their candidates stand in the segment."""
    numbers: Tensor | None = field(init=False)
    """[G] the rows, on the device; None for all rows in order."""
    places: Tensor = field(init=False)
    """[G, n] where the candidates stand among the tokens of all rows."""
    columns: Tensor = field(init=False)
    """[G, n] their columns in the prompt."""

    def __post_init__(self) -> None:
        width = self.segment.valid.shape[1]
        numbers = self.prompt.numbers(self.rows, len(self.prompt))
        places = flatten(self.at, width, numbers)
        full = self.segment.full
        columns = self.at if full else take_flat(self.segment.columns.unsqueeze(-1), places).squeeze(-1)
        for name, value in (("numbers", numbers), ("places", places), ("columns", columns)):
            object.__setattr__(self, name, value)

    @property
    def text(self) -> int:
        """Tokens after the visual ones, in the row that has most of them."""
        return max(self.questions)

    @property
    def questions(self) -> list[int]:
        """[G] tokens after the visual ones in every row."""
        return [self.prompt.width - self.prompt.after[b] for b in self.rows]

    @cached_property
    def words(self) -> Tensor | None:
        """[G, m] which of the last m tokens come after the visual ones, m being `text`; None if all do."""
        if len(set(self.questions)) == 1:
            return None
        ends = self.own(self.prompt.end)
        return torch.arange(self.prompt.width - self.text, self.prompt.width, device=ends.device) >= ends.unsqueeze(1)

    def own(self, values: Tensor) -> Tensor:
        """The rows [G, ...] of what there is of every row of the batch [B, ...]."""
        return values if self.numbers is None else values.index_select(0, self.numbers.to(values.device))

    def candidates_of(self, recorded: Recorded) -> Tensor:
        """[G, n, D] of the candidates, in recorded values [A, n', D]."""
        return take_flat(recorded.values, self._places_in(recorded))

    def text_of(self, recorded: Recorded) -> Tensor:
        """[G, m, D] of the tokens after the visual ones, which come last in every segment; a copy, padded."""
        last = recorded.values[:, recorded.values.shape[1] - self.text :]
        numbers = self._numbers_in(recorded)
        return self.blank(last.clone() if numbers is None else last.index_select(0, numbers.to(last.device)), 1)

    def blank(self, values: Tensor, dim: int) -> Tensor:
        """Values [G, ...] with zeros at padding, where dimension `dim` is that of the text or of its queries."""
        if self.words is None:
            return values
        words = self.words[:, : values.shape[dim]].to(values.device)
        shape = [len(words), *(words.shape[1] if d == dim else 1 for d in range(1, values.ndim))]
        return values.masked_fill(~words.view(shape), 0)  # a product would leave NaN, which a row of attention can be

    def weights_of(self, recorded: Recorded, words: int | None) -> Tensor:
        """[G, heads, queries, n] of the candidates, in weights [A, heads, queries', n'].

        The queries are the last ones: as many of the text, padded, or one where `words` is None.
        """
        weights, numbers = recorded.values, self._numbers_in(recorded)
        weights = weights[:, :, weights.shape[2] - (1 if words is None else words) :]
        own = weights if numbers is None else weights.index_select(0, numbers.to(weights.device))
        at = self.at if recorded.segment is self.segment else recorded.segment.find(self.columns, self.numbers)
        own = own.gather(3, at[:, None, None].to(own.device).expand(-1, *own.shape[1:3], -1))
        return own if words is None else self.blank(own, 2)

    def _places_in(self, recorded: Recorded) -> Tensor:
        """[G, n] where the candidates stand among the tokens of all rows that were recorded."""
        same, numbers = recorded.segment is self.segment, self._numbers_in(recorded)
        if same and numbers is self.numbers:
            return self.places
        at = self.at if same else recorded.segment.find(self.columns, self.numbers)
        return flatten(at, recorded.values.shape[1], numbers)

    def _numbers_in(self, recorded: Recorded) -> Tensor | None:
        return self.prompt.numbers(recorded.where(self.rows), len(recorded.values))


def find_candidates(prompt: PromptColumns, segment: Segment, rows: Sequence[int]) -> Group:
    """The group of these rows, which have equally many visual tokens in the segment."""
    width, device = segment.valid.shape[1], segment.valid.device
    count = segment.lengths[rows[0]] - prompt.text_count(rows[0])
    numbers = prompt.numbers(rows, len(prompt))
    if not prompt.is_stretch:
        visual = segment.valid & prompt.visual.gather(1, segment.columns)
        visual = visual if numbers is None else visual.index_select(0, numbers)
        at = visual.byte().argsort(dim=1, descending=True, stable=True)[:, :count]
    elif len({prompt.after[b] for b in rows}) == 1:
        end = width - prompt.questions[rows[0]]
        at = torch.arange(end - count, end, device=device).expand(len(rows), -1)
    else:
        ends = prompt.end if numbers is None else prompt.end.index_select(0, numbers)
        at = torch.arange(-count, 0, device=device) + (ends + (width - prompt.width)).unsqueeze(1)
    return Group(prompt, segment, rows, at)
