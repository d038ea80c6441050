"""The stages of every row of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from tokenbench.contract.stage import Attn, Stage
from tokenbench.engine.layout import PromptColumns
from tokenbench.engine.plan import RowPlan
from tokenbench.errors import InfeasibleError

__all__ = ["Schedule", "move_to_attention"]


class Schedule:
    """The stages of every row of a batch. A row without visual tokens has none.

    Args:
        plans: One for every row.
        prompt: The batch.
        attends: Of every decoder layer, whether it is a layer of attention.

    Raises:
        InfeasibleError: If a plan has no stages for its row, whose number the error holds.
    """

    def __init__(self, plans: Sequence[RowPlan], prompt: PromptColumns, attends: Sequence[bool], last: int) -> None:
        self._prompt, self._attends, self._last = prompt, attends, last
        self.rows = [self._plan_row(b, plan) for b, plan in enumerate(plans)]

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

    def alternatives(self, plans: Sequence[RowPlan]) -> list[list[tuple[Stage, ...]]]:
        """For each row, the stages that each plan would run there. Plans without a stage are left out."""
        rows: list[list[tuple[Stage, ...]]] = []
        for b in range(len(self._prompt)):
            rows.append([])
            for plan in plans:
                with suppress(InfeasibleError):  # reported when the plan itself runs
                    if stages := self._plan_row(b, plan):
                        rows[-1].append(stages)
        return rows

    def _plan_row(self, b: int, plan: RowPlan) -> tuple[Stage, ...]:
        visual = self._prompt.visual_counts[b]
        if not visual:
            return ()
        try:
            stages = move_to_attention(plan.stages(visual, self._prompt.text_count(b)), self._attends)
            if stages and stages[-1].layer > self._last:
                raise InfeasibleError(
                    f"prunes before decoder layer {stages[-1].layer}, but later layers of this model read the keys of "
                    f"layer {self._last} again, so that no token can be dropped after that layer"
                )
        except InfeasibleError as error:
            error.row = b
            raise
        return stages


def move_to_attention(stages: Sequence[Stage], attends: Sequence[bool]) -> tuple[Stage, ...]:
    """Move stages that read attention or keys of a recurrent layer to the next place where they find some.

    Where none follows, the nearest earlier place is taken. All that a stage reads moves with it.

    Args:
        stages: The stages.
        attends: Of every decoder layer, whether it is a layer of attention.

    Raises:
        InfeasibleError: If there is no such place between the stages before and after.
    """
    if all(attends):
        return tuple(stages)
    moved: list[Stage] = []
    for stage in stages:
        last = moved[-1].layer if moved else -1
        read = [*(request.layer for request in stage.attention), *stage.keys]
        places = range(last + 1 - stage.layer, len(attends) - stage.layer)
        fit = [by for by in places if all(0 <= at + by < len(attends) and attends[at + by] for at in read)]
        if not fit:
            raise InfeasibleError(
                f"the stage before layer {stage.layer} reads attention, and no layer of attention is left for it"
            )
        by = min(fit, key=lambda by: (by < 0, abs(by))) if read else max(0, places.start)
        moved.append(_move(stage, by))
    return tuple(moved)


def _move(stage: Stage, by: int) -> Stage:
    hidden, text = (tuple(depth + by if depth else 0 for depth in depths) for depths in (stage.hidden, stage.text))
    return replace(
        stage,
        layer=stage.layer + by,
        hidden=hidden,
        text=text,
        keys=tuple(layer + by for layer in stage.keys),
        attention=tuple(replace(request, layer=request.layer + by) for request in stage.attention),
    )
