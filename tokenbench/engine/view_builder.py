"""Builds the view of one stage: what its request named, cut to one row and its candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tokenbench.contract.budget import count
from tokenbench.contract.lattice import Grid
from tokenbench.contract.stage import Stage
from tokenbench.contract.view import View
from tokenbench.engine.frame import Frame
from tokenbench.engine.layout import Layout, PromptColumns
from tokenbench.engine.plan import RowPlan
from tokenbench.engine.prefill_recorder import PrefillRecorder
from tokenbench.errors import InfeasibleError

__all__ = ["ViewBuilder"]


class ViewBuilder:
    """Builds the views of all rows of a batch.

    Args:
        plans: One for every row.
        layout: Where its frames come from.
        prompt: The batch.
        recorder: Where hidden states, keys and attention come from.
        norm: The decoder's final norm; None for a decoder without one.
    """

    def __init__(
        self,
        plans: Sequence[RowPlan],
        layout: Layout,
        prompt: PromptColumns,
        recorder: PrefillRecorder,
        norm: nn.Module | None,
    ) -> None:
        self._layout, self._prompt, self._recorder, self._norm = layout, prompt, recorder, norm
        self._generators = [plan.generator() for plan in plans]
        self._frames: Sequence[Sequence[Frame]] | None = None
        self.grids: Sequence[tuple[Grid, ...]] = ()
        """The lattices of every row, once its positions are known."""
        self.memos: list[dict[str, Any]] = [{} for _ in plans]
        """What every row's strategy carries from stage to stage."""

    def frames(self, b: int) -> Sequence[Frame]:
        """What the encoder saw of row b."""
        if self._frames is None:
            self._frames = self._layout.frames()
        return self._frames[b]

    def build(self, b: int, stage: Stage, index: int, candidates: Tensor) -> View:
        """What a stage of row b sees.

        Args:
            b: The row.
            stage: The stage.
            index: Its number in the schedule.
            candidates: [n] the prompt's columns of the visual tokens that are left.

        Raises:
            InfeasibleError: If it reads lattices, and the prompt shows none.
        """
        recorder, question = self._recorder, self._prompt.question(b)
        n0, alive = self._prompt.visual_counts[b], self._prompt.ordinals[b][candidates]
        frames = self.frames(b) if stage.reads_encoder else ()
        if stage.lattice and not all(grid.has_places for grid in self.grids[b]):
            error = InfeasibleError("it reads where tokens lie on the image, which this prompt does not show")
            error.row = b
            raise error
        return View(
            n0=n0,
            alive=alive,
            grids=self.grids[b],
            stage=stage,
            index=index,
            k=len(candidates) if stage.keep is None else count(stage.keep, n0, len(candidates)),
            hidden={depth: recorder.hidden(b, depth, candidates) for depth in stage.hidden},
            text={depth: recorder.hidden(b, depth, question) for depth in stage.text},
            keys={layer: recorder.keys(b, layer, candidates) for layer in stage.keys},
            text_keys={layer: recorder.keys(b, layer, question) for layer in stage.keys},
            attention={request: recorder.attention(b, request, candidates) for request in stage.attention},
            signals={asked: torch.cat([f.signal(asked) for f in frames])[alive] for asked in stage.signals},
            frames=frames,
            norm=self._norm or _keep,
            generator=self._generators[b],
            memo=self.memos[b],
        )


def _keep(states: Tensor) -> Tensor:
    """What stands for the final norm of a decoder without one."""
    return states
