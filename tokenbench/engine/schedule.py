"""The stages of every row of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from tokenbench.contract.stage import Attn, Stage
from tokenbench.engine.layout import PromptColumns
from tokenbench.engine.plan import RowPlan
from tokenbench.errors import InfeasibleError

__all__ = ["Schedule"]


class Schedule:
    """The stages of every row of a batch. A row without visual tokens has none.

    Args:
        plans: One for every row.
        prompt: The batch.

    Raises:
        InfeasibleError: If a plan has no stages for its row, whose number the error holds.
    """

    def __init__(self, plans: Sequence[RowPlan], prompt: PromptColumns) -> None:
        self.rows = [_plan_row(b, plan, prompt) for b, plan in enumerate(plans)]

    @property
    def first_layer(self) -> int:
        """The layer of the earliest stage, 0 if there is none."""
        return min((stages[0].layer for stages in self.rows if stages), default=0)

    def at(self, layer: int) -> list[tuple[int, Stage, int]]:
        """(row, stage, number of the stage in its row) of the stages before this decoder layer."""
        return [
            (b, stage, index)
            for b, stages in enumerate(self.rows)
            for index, stage in enumerate(stages)
            if stage.layer == layer
        ]

    def attention(self, wanted: Callable[[Attn], bool]) -> list[tuple[int, Attn]]:
        """(row, request) of the requests for attention that are `wanted`, each once."""
        requests = (
            (b, request)
            for b, stages in enumerate(self.rows)
            for stage in stages
            for request in stage.attention
            if wanted(request)
        )
        return list(dict.fromkeys(requests))

    @staticmethod
    def alternatives(plans: Sequence[RowPlan], prompt: PromptColumns) -> list[list[tuple[Stage, ...]]]:
        """For each row, the stages that each plan would run there. Plans without a stage are left out."""
        rows: list[list[tuple[Stage, ...]]] = []
        for b in range(len(prompt)):
            rows.append([])
            for plan in plans:
                with suppress(InfeasibleError):  # reported when the plan itself runs
                    if stages := _plan_row(b, plan, prompt):
                        rows[-1].append(stages)
        return rows


def _plan_row(b: int, plan: RowPlan, prompt: PromptColumns) -> tuple[Stage, ...]:
    try:
        return plan.stages(prompt.visual_counts[b], prompt.text_count(b)) if prompt.visual_counts[b] else ()
    except InfeasibleError as error:
        error.row = b
        raise
