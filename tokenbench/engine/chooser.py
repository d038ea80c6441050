"""Asks the strategies of a batch what the stages before a layer keep, rows that look alike together."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from tokenbench.contract.stage import Stage
from tokenbench.contract.strategy import Selection, Strategy, may_pad
from tokenbench.contract.view import View
from tokenbench.engine.doubts import Doubts
from tokenbench.engine.group import Group, find_candidates
from tokenbench.engine.layout import PromptColumns
from tokenbench.engine.plan import RowPlan
from tokenbench.engine.segment import Segment, flatten
from tokenbench.engine.selection import Answer, find_wrong_count, select
from tokenbench.engine.trace import RowTrace, Way
from tokenbench.engine.view_builder import ViewBuilder
from tokenbench.errors import InfeasibleError, StrategyError

__all__ = ["Choice", "Chooser"]

Due = tuple[int, Stage, int]
"""A row, a stage, and its number in the row's schedule."""


@dataclass(frozen=True)
class Choice:
    """What a stage chose in some rows."""

    group: Group
    """The rows and their candidates."""
    stage: Stage
    """The stage."""
    alive: Tensor
    """[G, n] ordinals of the candidates."""
    selection: Selection
    """What it keeps of the candidates, with the rows in front; a mask where rows may keep unlike many."""
    counts: list[int]
    """[G] how many each row keeps."""
    ascending: bool
    """Whether it keeps them in the order of the prompt."""
    way: Way
    """How the strategy's code ran."""

    @cached_property
    def _kept(self) -> Selection:
        """The selection by indices [G, k], or [sum of counts] into the candidates of all rows, laid end to end."""
        selection, order = self.selection, self.selection.order
        if not selection.is_mask:
            return selection
        if order is not None:  # one row after the other
            order = flatten(order.argsort(dim=1, stable=True).argsort(dim=1), order.shape[1]).flatten()
        values = None if selection.values is None else selection.values.flatten(0, 1)
        return Selection(selection.keep.flatten(), values, order=order).to_indices(sum(self.counts))

    @property
    def values(self) -> Tensor | None:
        """[sum of counts, C] new hidden states of the kept candidates, one row after the other."""
        values = self._kept.values
        return values.flatten(0, 1) if values is not None and values.ndim > 2 else values

    def take(self, candidates: Tensor, *, ascending: bool = False) -> Tensor:
        """The kept ones [sum of counts] of candidates [G, n], one row after the other.

        Args:
            candidates: What there is of every candidate.
            ascending: Whether each row's are put in the order of the prompt, instead of that of the selection.
        """
        kept = self._kept.keep
        kept = kept.sort(dim=-1).values if ascending else kept
        taken = candidates.gather(1, kept) if kept.ndim > 1 else candidates.flatten().index_select(0, kept)
        return taken.flatten()


class Chooser:
    """Asks strategies for their selections, and once only for rows that are bound to choose alike.

    Args:
        plans: One for every row.
        prompt: The batch.
        views: What builds the views of its rows.
        traces: Where every row's decisions are written down.
    """

    def __init__(
        self, plans: Sequence[RowPlan], prompt: PromptColumns, views: ViewBuilder, traces: Sequence[RowTrace]
    ) -> None:
        self._plans, self._prompt, self._views, self._traces = plans, prompt, views, traces
        self.first_alike = list(range(len(plans)))
        """For each row, the first row whose tokens are the same up to the question, pruned ones included."""
        self.doubts = Doubts()
        """What may be wrong with the selections so far."""

    def choose(self, due: Sequence[Due], segment: Segment, width: int) -> list[Choice]:
        """The choices of the stages before a decoder layer.

        Args:
            due: The stages.
            segment: The tokens that reach the layer.
            width: Channels of the decoder's hidden states.

        Raises:
            StrategyError: If a strategy fails or breaks its contract; the error holds the row.
        """
        groups: dict[Hashable, list[Due]] = {}
        copies: dict[int, list[int]] = {}
        for b, stage, index in due:
            first = self.first_alike[b]
            if first != b and stage.blind and not self._plans[b].strategy.stochastic:
                copies.setdefault(first, []).append(b)
            else:
                self.first_alike[b] = b
                groups.setdefault(self._likeness(b, stage, index, segment), []).append((b, stage, index))
        try:
            chosen = [choice for alike in groups.values() for choice in self._ask(alike, segment, width)]
        except StrategyError:
            self.doubts.settle()  # an earlier stage may be the reason
            raise
        return [*chosen, *(copied for choice in chosen for copied in self._copy(choice, copies))]

    def _likeness(self, b: int, stage: Stage, index: int, segment: Segment) -> Hashable:
        """What rows must have in common for a strategy to see them at once."""
        plan, prompt = self._plans[b], self._prompt
        words = prompt.questions[b]
        return (
            id(plan.strategy),
            plan.name,
            stage,
            index,
            prompt.visual_counts[b],
            segment.lengths[b] - prompt.text_count(b),
            self._views.grids[b],
            0 if not stage.reads_text or may_pad(plan.strategy, words) else words,
            self._asked(plan, stage, words),
            tuple(frame.tokens for frame in self._views.frames(b)) if stage.reads_encoder else (),
        )

    def _asked(self, plan: RowPlan, stage: Stage, words: int) -> str | None:
        """What rows that a stage chooses for at once have in common of what was asked; None if nothing is known of it."""
        if plan.question is None or not (stage.question or stage.phrases):
            return None
        return "" if not stage.question and may_pad(plan.strategy, words) else plan.question.text

    def _ask(self, alike: Sequence[Due], segment: Segment, width: int) -> Iterator[Choice]:
        """What the strategy of these rows chooses."""
        (first, stage, index), rows = alike[0], [b for b, _, _ in alike]
        plan = self._plans[first]
        group = find_candidates(self._prompt, segment, rows)
        try:
            views = self._views.build(group, stage, index)
            frames = [frame for own in views.frames for frame in own]
            for frame in frames:
                frame.rerun_positions = []
            answers = select(plan.strategy, plan.name, views, width, plan.apart)
        except StrategyError as error:
            error.row = rows[error.row or 0]
            raise
        except InfeasibleError as error:
            error.row = first
            raise
        for b in rows:
            self._trace(b, stage, group.at.shape[1])
        for answer in answers:
            yield self._choice(group, views.stacked, answer, plan)

    def _choice(self, group: Group, view: View, answer: Answer, plan: RowPlan) -> Choice:
        stage, alive, selection = view.stage, view.alive, answer.selection
        where = f"strategy {plan.name}, stage before layer {stage.layer}"
        if len(answer.members) < len(group.rows):
            rows = [group.rows[i] for i in answer.members]
            group, alive = find_candidates(self._prompt, group.segment, rows), self._take(alive, answer.members)
        # A strategy may make its indices on the CPU, as torch does where nothing else is said.
        selection = replace(selection, keep=selection.keep.to(alive.device))
        is_mask, scored = selection.is_mask, type(plan.strategy).select is Strategy.select
        ascending = scored or (is_mask and selection.order is None)
        if not ascending and (stage.layer > 0 or not self._traces[group.rows[0]].compact):
            ascending, selection = True, selection.ascending()
        counts = [selection.keep.shape[1]] * len(group.rows)
        if is_mask:
            selection, counts = self._count(where, group.rows, view, selection)
        keep = self.doubts.add(where, group.rows, view.n, selection, distinct=scored or is_mask)
        return Choice(group, stage, alive, replace(selection, keep=keep, score=None), counts, ascending, answer.way)

    def _count(self, where: str, rows: Sequence[int], view: View, selection: Selection) -> tuple[Selection, list[int]]:
        """How many candidates a mask keeps in each row; one look for all, or none if the stage says it."""
        counts = selection.keep.sum(1)
        if view.stage.keep is not None and not view.stage.at_most:
            self.doubts.add_counts(where, rows, counts, view.k)
            return selection.to_indices(view.k), [view.k] * len(rows)
        found: list[int] = counts.tolist()
        for b, count in zip(rows, found, strict=True):
            if problem := find_wrong_count(count, view):
                error = StrategyError(f"{where}: {problem}")
                error.row = b
                raise error
        return selection, found

    def _copy(self, choice: Choice, copies: dict[int, list[int]]) -> Iterator[Choice]:
        """What rows chose that are like those of a choice."""
        pairs = [(i, b) for i, first in enumerate(choice.group.rows) for b in copies.get(first, ())]
        if not pairs:
            return
        for i, b in pairs:
            first = choice.group.rows[i]
            self._views.memos[b] = dict(self._views.memos[first])
            self._traces[b].encoder_positions = self._traces[first].encoder_positions
        group = find_candidates(self._prompt, choice.group.segment, [b for _, b in pairs])
        members = [i for i, _ in pairs]
        parts = {name: self._take(part, members) for name, part in vars(choice.selection).items() if part is not None}
        counts = [choice.counts[i] for i in members]
        alive = self._take(choice.alive, members)
        yield replace(choice, group=group, alive=alive, selection=Selection(**parts), counts=counts)

    def _take(self, values: Tensor, members: Sequence[int]) -> Tensor:
        """The entries at members of values [G, ...]."""
        numbers = self._prompt.numbers(members, len(values))
        return values if numbers is None else values.index_select(0, numbers.to(values.device))

    def _trace(self, b: int, stage: Stage, n: int) -> None:
        """Write down what the stage costs in row b beyond the prefill."""
        trace = self._traces[b]
        trace.count_requests(stage, n, self._prompt.prefix_length(b))
        frames = self._views.frames(b) if stage.reads_encoder else ()
        if any(frame.rerun_positions for frame in frames):
            trace.encoder_positions = [part for frame in frames for part in frame.computed_positions()]
