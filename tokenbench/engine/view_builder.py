"""Builds the view of one stage: what its request named, cut to one row and its candidates."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tokenbench.contract.budget import count
from tokenbench.contract.lattice import Grid
from tokenbench.contract.stage import Stage
from tokenbench.contract.view import View
from tokenbench.engine.frame import Frame
from tokenbench.engine.layout import Layout, PromptColumns
from tokenbench.engine.plan import Question, RowPlan
from tokenbench.engine.prefill_recorder import PrefillRecorder
from tokenbench.engine.segment import Segment
from tokenbench.errors import InfeasibleError, UsageError

__all__ = ["ViewBuilder"]


class ViewBuilder:
    """Builds the views of all rows of a batch.

    Args:
        plans: One for every row.
        layout: Where its frames come from.
        prompt: The batch.
        recorder: Where hidden states, keys and attention come from.
        decoder: The stock decoder, for its final norm and its rotary embedding.
    """

    def __init__(
        self, plans: Sequence[RowPlan], layout: Layout, prompt: PromptColumns, recorder: PrefillRecorder, decoder: Any
    ) -> None:
        self._layout, self._prompt, self._recorder, self._decoder = layout, prompt, recorder, decoder
        self._generators = [plan.generator() for plan in plans]
        self._questions = [plan.question for plan in plans]
        self._frames: Sequence[Sequence[Frame]] | None = None
        self.grids: Sequence[tuple[Grid, ...]] = ()
        """The lattices of every row, once its positions are known."""
        self.positions: Tensor | None = None
        """[B or 1, S] or [axes, B or 1, S] position ids of the prompt, once they are known."""
        self.memos: list[dict[str, Any]] = [{} for _ in plans]
        """What every row's strategy carries from stage to stage."""

    def frames(self, b: int) -> Sequence[Frame]:
        """What the encoder saw of row b."""
        if self._frames is None:
            self._frames = self._layout.frames()
        return self._frames[b]

    def build(self, b: int, stage: Stage, index: int, segment: Segment, at: Tensor) -> View:
        """What a stage of row b sees.

        Args:
            b: The row.
            stage: The stage.
            index: Its number in the schedule.
            segment: The tokens that reach it.
            at: [n] where the visual tokens that are left stand in it.

        Raises:
            InfeasibleError: If it reads lattices, and the prompt shows none.
        """
        recorder, question, candidates = self._recorder, self._prompt.question(b), segment.columns[b][at]
        asked = self._questions[b] if stage.question else None
        placed = segment.positions[b]
        n0, alive = self._prompt.visual_counts[b], self._prompt.ordinals[b][candidates]
        frames = self.frames(b) if stage.reads_encoder else ()
        if stage.lattice and not all(grid.has_places for grid in self.grids[b]):
            error = InfeasibleError(
                "it needs the position of every visual token on the image, which this prompt does not show"
            )
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
            positions=self._positions(b, placed[at]),
            text_positions=self._positions(b, placed[placed.shape[0] - len(question) :]),
            rotary=self._rotate,
            norm=getattr(self._decoder, "norm", None) or _keep,
            question=asked.text if asked else "",
            embed=partial(self._embed, asked),
            generator=self._generators[b],
            memo=self.memos[b],
        )

    def _positions(self, b: int, columns: Tensor) -> Tensor:
        """[axes, m] position ids of row b at these columns [m]."""
        if self.positions is None:
            return (columns - (self._prompt.width - self._prompt.lengths[b]))[None]
        rows = self.positions[..., b % self.positions.shape[-2], :]
        return rows[..., columns].reshape(-1, len(columns))

    def _embed(self, asked: Question | None, texts: Sequence[str]) -> Tensor:
        """Input embeddings [m, C] of the tokens of texts."""
        if asked is None:
            raise UsageError(
                "the strategy reads the user's words, which are not known apart from the prompt",
                "pass them as questions=[...], with the processor, to pruned()",
            )
        ids = [token for text in texts for token in asked.tokenize(text)]
        table: Tensor = self._decoder.get_input_embeddings().weight
        return table[torch.tensor(ids, dtype=torch.long, device=table.device)]

    def _rotate(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of position ids [axes, m]."""
        ids = positions if len(positions) == 1 else positions.unsqueeze(1)
        like = torch.empty(0, device=positions.device)
        # Not called as a module: the pruner listens there.
        cos, sin = self._decoder.rotary_emb.forward(like, ids)
        axis = 1 if cos.ndim == 4 else 0
        return cos.squeeze(axis).float(), sin.squeeze(axis).float()


def _keep(states: Tensor) -> Tensor:
    """What stands for the final norm of a decoder without one."""
    return states
