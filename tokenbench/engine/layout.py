"""A batch of prompts: where its visual tokens and its questions are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tokenbench.contract.lattice import Grid
from tokenbench.contract.stage import Queries
from tokenbench.engine.frame import Frame

__all__ = ["Layout", "PromptColumns", "number_frames"]


def number_frames(grids: Sequence[tuple[Grid, ...]], clips: Sequence[bool]) -> list[tuple[Grid, ...]]:
    """Return the lattices of every row, with those of a clip's frames as parts of one item.

    Args:
        grids: The lattices. Those of InternVL's frames look like those of images.
        clips: Whether a row shows a clip first; empty if that is unknown.
    """
    return [
        tuple(replace(grid, item=0) for grid in row) if clip and len(set(row)) == 1 and row[0].item is None else row
        for row, clip in zip(grids, clips or [False] * len(grids), strict=True)
    ]


@dataclass(frozen=True)
class Layout:
    """What the engine must be told of a batch of prompts before it runs."""

    visual: Tensor
    """[B, S] True at the columns of visual tokens, in the order of the lattices' cells."""
    grids: Callable[[Tensor | None, Tensor | None], Sequence[tuple[Grid, ...]]]
    """Maps the prompt's position ids ([..., B, S], or None if the model makes none) and embeddings [B, S, C] to the
    lattices of every row."""
    frames: Callable[[], Sequence[Sequence[Frame]]]
    """What the encoder saw of every row; called when a stage asks for it."""
    valid: Tensor | None = None
    """[B, S] False at padding; None if there is none."""
    again: bool = False
    """Whether the prompt ran before, in the same generation. A forward may be longer than the prompt; selection does
    not look at what follows it."""


class PromptColumns:
    """The columns of a batch of B prompts, padded on the left to S columns.

    Args:
        visual: [B, S] True at the columns of visual tokens.
        valid: [B, S] attention mask.
    """

    def __init__(self, visual: Tensor, valid: Tensor) -> None:
        self.visual = visual
        self.valid = valid
        self.width: int = valid.shape[1]
        self.ordinals = visual.cumsum(1) - 1
        """[B, S] at every visual token, how many visual tokens its row has before it."""
        self.visual_counts: list[int]
        """The number of visual tokens in each row."""
        self.lengths: list[int]
        """The number of tokens in each row."""
        self.visual_counts, self.lengths = torch.stack([visual.sum(1), valid.sum(1)]).tolist()
        last = visual.int() * torch.arange(self.width, device=valid.device)
        self.after: list[int] = (last.argmax(1) + 1).tolist()
        """The first column after the visual tokens of each row, where the question starts."""

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def questions(self) -> list[int]:
        """The number of question tokens in each row."""
        return [self.width - after for after in self.after]

    def text_count(self, b: int) -> int:
        """Tokens of row b that are not visual."""
        return self.lengths[b] - self.visual_counts[b]

    def prefix_length(self, b: int) -> int:
        """Tokens of row b up to its last visual one."""
        return self.lengths[b] - (self.width - self.after[b])

    def question(self, b: int) -> Tensor:
        """[m] columns of row b's question."""
        return torch.arange(self.after[b], self.width, device=self.valid.device)

    def queries(self, b: int, queries: Queries) -> Tensor:
        """[q] columns of row b that a request means."""
        after, end = self.after[b], self.width
        spans = {
            "last": (end - 1, end),
            "null": (after, after + 1),
            "question": (after, end),
            "question[:-1]": (after, end - 1),
        }
        return torch.arange(*spans[queries], device=self.valid.device)
