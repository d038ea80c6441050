"""Builds the views of one stage: what its request named, cut to some rows and their candidates."""

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
from tokenbench.engine.frame import Frame, read_signals
from tokenbench.engine.group import Group
from tokenbench.engine.layout import Layout, PromptColumns
from tokenbench.engine.phrases import Phrases, embed_phrases, embed_texts
from tokenbench.engine.plan import Question, RowPlan
from tokenbench.engine.prefill_recorder import PrefillRecorder
from tokenbench.engine.row_views import AnyFrame, RowViews
from tokenbench.engine.segment import move, take
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

    def build(self, group: Group, stage: Stage, index: int) -> RowViews:
        """What a stage of some rows sees.

        Args:
            group: The rows and their candidates. They have the same lattices, and where the stage reads the user's
                words, the same ones. Text and phrases of unlike lengths are padded in front.
            stage: The stage.
            index: Its number in the schedule.

        Raises:
            InfeasibleError: If it reads lattices, and the prompt shows none.
        """
        recorder, rows, first = self._recorder, group.rows, group.rows[0]
        n0, n, text = self._prompt.visual_counts[first], group.at.shape[1], group.text if stage.reads_text else 0
        asked = self._questions[first] if stage.question else None
        if stage.lattice and not all(grid.has_places for grid in self.grids[first]):
            error = InfeasibleError(
                "it needs the position of every visual token on the image, which this prompt does not show"
            )
            error.row = first
            raise error
        alive = group.own(self._prompt.ordinals).gather(1, group.columns)
        frames = [self.frames(b) for b in rows] if stage.reads_encoder else []
        here = partial(move, device=alive.device)  # layers may stand on several devices, and a strategy sees one
        signals = read_signals(frames, stage.signals) if stage.signals else {}
        signals = {request: here(values) for request, values in signals.items()}
        if n < n0:
            signals = {request: _take_along(values, alive) for request, values in signals.items()}
        phrases = self._phrases(rows, stage)
        queries = {"question": text, "question[:-1]": text - 1}
        positions = text_positions = alive[:, None, :0]
        if stage.positions:
            placed = group.own(group.segment.positions)
            positions = self._positions(group, placed.gather(1, group.at))
            text_positions = group.blank(self._positions(group, placed[:, placed.shape[1] - text :]), 2)
        view = View(
            n0=n0,
            alive=alive,
            grids=self.grids[first],
            stage=stage,
            index=index,
            k=n if stage.keep is None else count(stage.keep, n0, n),
            hidden={depth: here(group.candidates_of(recorder.hidden(depth))) for depth in stage.hidden},
            text={depth: here(group.text_of(recorder.hidden(depth))) for depth in stage.text},
            keys={layer: here(group.candidates_of(recorder.keys(layer))) for layer in stage.keys},
            text_keys={layer: here(group.text_of(recorder.keys(layer))) for layer in stage.keys},
            attention={
                request: here(group.weights_of(recorder.attention(request), queries.get(request.queries)))
                for request in stage.attention
            },
            signals=signals,
            frames=AnyFrame.of(frames),
            positions=positions,
            text_positions=text_positions,
            rotary=self._rotate,
            norm=getattr(self._decoder, "norm", None) or _keep,
            question=asked.text if asked else "",
            embed=partial(self._embed, asked),
            generator=self._generators[first],
            words=group.words if stage.reads_text else None,
            phrases=None if phrases is None else here(phrases.states),
            phrase_words=None if phrases is None or phrases.words is None else here(phrases.words),
        )
        generators, memos = [self._generators[b] for b in rows], [self.memos[b] for b in rows]
        return RowViews(view, frames, generators, memos, group.questions, phrases.counts if phrases else ())

    def _positions(self, group: Group, columns: Tensor) -> Tensor:
        """[G, axes, m] position ids of rows at these columns [G, m]."""
        if self.positions is None:
            lengths = group.own(self._prompt.valid).sum(1, keepdim=True)
            return (columns - (self._prompt.width - lengths)).unsqueeze(1)
        ids = self.positions.reshape(-1, *self.positions.shape[-2:]).transpose(0, 1)  # [B or 1, axes, S]
        if len(ids) == 1:
            ids = ids.expand(len(group.rows), -1, -1)
        elif (numbers := self._prompt.numbers([b % len(ids) for b in group.rows], len(ids))) is not None:
            ids = ids.index_select(0, numbers.to(ids.device))
        return ids.gather(2, columns.unsqueeze(1).expand(-1, ids.shape[1], -1).to(ids.device))

    def _embed(self, asked: Question | None, texts: Sequence[str]) -> Tensor:
        """Input embeddings [m, C] of the tokens of texts."""
        if asked is None:
            raise UsageError(
                "the strategy reads the user's words, which are not known apart from the prompt",
                "pass them as questions=[...], with the processor, to pruned()",
            )
        return embed_texts(self._decoder.get_input_embeddings().weight, asked, texts)

    def _phrases(self, rows: Sequence[int], stage: Stage) -> Phrases | None:
        """What rows say, if a stage reads it and it is known."""
        asked = [question for b in rows if (question := self._questions[b])]
        if stage.phrases is None or not asked:
            return None
        return embed_phrases(self._decoder.get_input_embeddings().weight, asked, stage.phrases)

    def _rotate(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of position ids [axes, m]."""
        ids = positions if len(positions) == 1 else positions.unsqueeze(1)
        like = torch.empty(0, device=positions.device)
        # Not called as a module: the pruner listens there.
        cos, sin = self._decoder.rotary_emb.forward(like, ids)
        axis = 1 if cos.ndim == 4 else 0
        return cos.squeeze(axis).float(), sin.squeeze(axis).float()


def _take_along(values: Tensor, index: Tensor) -> Tensor:
    """The entries at index [G, n] of values [G, n'] or [G, n', D]."""
    return values.gather(1, index) if values.ndim == 2 else take(values, index)


def _keep(states: Tensor) -> Tensor:
    """What stands for the final norm of a decoder without one."""
    return states
