"""Asks the strategies of a batch what the stages before a layer keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from tokenbench.contract.stage import Stage
from tokenbench.contract.strategy import Selection
from tokenbench.contract.view import View
from tokenbench.engine.layout import PromptColumns
from tokenbench.engine.plan import RowPlan
from tokenbench.engine.segment import Segment
from tokenbench.engine.selection import find_wrong_numbers, select
from tokenbench.engine.trace import RowTrace
from tokenbench.engine.view_builder import ViewBuilder
from tokenbench.errors import StrategyError

__all__ = ["Choice", "Chooser"]


@dataclass(frozen=True)
class Choice:
    """What a stage chose in one row."""

    view: View
    """What the strategy saw."""
    selection: Selection
    """What it keeps of the candidates."""
    at: Tensor
    """[n] where the row's candidates stand in the segment."""

    @property
    def kept(self) -> Tensor:
        """[k] where the tokens that it keeps stand in the segment."""
        return self.at[self.selection.keep]


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

    def choose(self, due: Sequence[tuple[int, Stage, int]], segment: Segment, width: int) -> dict[int, Choice]:
        """The choices of the stages before a decoder layer, by row.

        Args:
            due: (row, stage, number of the stage in its row).
            segment: The tokens that reach the layer.
            width: Channels of the decoder's hidden states.

        Raises:
            StrategyError: If a strategy fails or breaks its contract; the error holds the row.
        """
        candidates = self._candidates(segment)
        choices: dict[int, Choice] = {}
        for b, stage, index in due:
            first, at = self.first_alike[b], candidates[b]
            if first != b and stage.blind and not self._plans[b].strategy.stochastic:
                choices[b] = self._copy(choices[first], first, b, at)
            else:
                self.first_alike[b] = b
                choices[b] = self._ask(b, stage, index, segment, at, width)
        self._refuse_wrong_numbers(choices)
        return choices

    def _copy(self, choice: Choice, first: int, b: int, at: Tensor) -> Choice:
        """What row `first` chose, for row b."""
        self._views.memos[b] = dict(self._views.memos[first])
        self._traces[b].encoder_positions = self._traces[first].encoder_positions
        return Choice(choice.view, choice.selection, at)

    def _ask(self, b: int, stage: Stage, index: int, segment: Segment, at: Tensor, width: int) -> Choice:
        """What the strategy of row b chooses."""
        plan, trace = self._plans[b], self._traces[b]
        view = self._views.build(b, stage, index, segment, at)
        frames = self._views.frames(b) if view.frames else ()
        for frame in frames:
            frame.rerun_positions = []
        try:
            selection = select(plan.strategy, plan.name, view, width)
        except StrategyError as error:
            error.row = b
            raise
        if stage.layer > 0 or not trace.compact:
            selection = selection.ascending()
        trace.count_requests(stage, view.n, self._prompt.prefix_length(b))
        if any(frame.rerun_positions for frame in frames):
            # A frame that was not run again was not needed at all.
            trace.encoder_positions = [
                (frame.layout.positions, frame.rerun_positions or [0] * len(frame.run.encoder.layers))
                for frame in frames
            ]
        return Choice(view, selection, at)

    def _candidates(self, segment: Segment) -> list[Tensor]:
        """Positions [n] of each row's visual tokens in the segment."""
        visual = segment.valid & self._prompt.visual.gather(1, segment.columns)
        order = visual.byte().argsort(dim=1, descending=True, stable=True)
        counts = [length - self._prompt.text_count(b) for b, length in enumerate(segment.lengths)]
        return [own[:count] for own, count in zip(order, counts, strict=True)]

    def _refuse_wrong_numbers(self, choices: dict[int, Choice]) -> None:
        wrong = find_wrong_numbers([(choice.view, choice.selection) for choice in choices.values()])
        if wrong is None:
            return
        at, problem = wrong
        b = list(choices)[at]
        layer = choices[b].view.stage.layer
        error = StrategyError(f"strategy {self._plans[b].name}, stage before layer {layer}: {problem}")
        error.row = b
        raise error
