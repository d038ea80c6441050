"""Asks the strategies of a batch what the stages before a layer keep, rows that look alike together."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from tokenbench.contract.stage import Stage
from tokenbench.contract.strategy import Selection, Strategy, may_pad
from tokenbench.engine.doubts import Doubts
from tokenbench.engine.group import Group, find_candidates
from tokenbench.engine.layout import PromptColumns
from tokenbench.engine.plan import RowPlan
from tokenbench.engine.segment import Segment
from tokenbench.engine.selection import Answer, select
from tokenbench.engine.trace import RowTrace, Way
from tokenbench.engine.view_builder import ViewBuilder
from tokenbench.errors import InfeasibleError, StrategyError

__all__ = ["Choice", "Chooser"]

Due = tuple[int, Stage, int]
"""A row, a stage, and its number in the row's schedule."""


@dataclass(frozen=True)
class Choice:
    """What a stage chose in some rows, equally much in each."""

    group: Group
    """The rows and their candidates."""
    stage: Stage
    """The stage."""
    alive: Tensor
    """[G, n] ordinals of the candidates."""
    selection: Selection
    """What it keeps of the candidates, with the rows in front."""
    ascending: bool
    """Whether it keeps them in the order of the prompt."""
    way: Way
    """How the strategy's code ran."""


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
            plan.question.text if stage.question and plan.question else "",
            tuple(frame.tokens for frame in self._views.frames(b)) if stage.reads_encoder else (),
        )

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
            yield self._choice(group, stage, views.stacked.alive, answer, plan)

    def _choice(self, group: Group, stage: Stage, alive: Tensor, answer: Answer, plan: RowPlan) -> Choice:
        ranked = type(plan.strategy).select is Strategy.select
        where = f"strategy {plan.name}, stage before layer {stage.layer}"
        if len(answer.members) < len(group.rows):
            rows = [group.rows[i] for i in answer.members]
            group, alive = find_candidates(self._prompt, group.segment, rows), self._take(alive, answer.members)
        n = alive.shape[1]
        # A strategy may make its indices on the CPU, as torch does where nothing else is said.
        selection = replace(answer.selection, keep=answer.selection.keep.to(alive.device))
        keep = self.doubts.add(where, group.rows, n, selection, ranked)
        selection = replace(selection, keep=keep, score=None)
        if not ranked and (stage.layer > 0 or not self._traces[group.rows[0]].compact):
            ranked, selection = True, selection.ascending()
        return Choice(group, stage, alive, selection, ranked, answer.way)

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
        members, values = [i for i, _ in pairs], choice.selection.values
        selection = Selection(
            self._take(choice.selection.keep, members), None if values is None else self._take(values, members)
        )
        yield replace(choice, group=group, alive=self._take(choice.alive, members), selection=selection)

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
