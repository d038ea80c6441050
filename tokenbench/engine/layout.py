"""A batch of prompts: where its visual tokens and its questions are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from tokenbench.contract.lattice import Grid
from tokenbench.engine.frame import Frame
from tokenbench.errors import UsageError

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

    Raises:
        UsageError: If a row ends with padding.
    """

    def __init__(self, visual: Tensor, valid: Tensor) -> None:
        self.visual = visual
        self.valid = valid
        self.width: int = valid.shape[1]
        self.ordinals = visual.cumsum(1) - 1
        """[B, S] at every visual token, how many visual tokens its row has before it."""
        seen, real = torch.stack([visual, valid.bool()]).cpu().numpy()  # one look at all rows
        if not real[:, -1].all():
            raise UsageError(
                "pruning needs prompts padded on the left", "set processor.tokenizer.padding_side = 'left'"
            )
        counted = seen.cumsum(1)
        self.visual_counts: list[int] = counted[:, -1].tolist()
        """The number of visual tokens in each row."""
        self.lengths: list[int] = real.sum(1).tolist()
        """The number of tokens in each row."""
        self.after: list[int] = (counted.argmax(1) + 1).tolist()
        """The first column after the visual tokens of each row, where the question starts."""
        columns = zip(self.visual_counts, self.after, seen.argmax(1).tolist(), strict=True)
        self.is_stretch = all(count in (0, after - begin) for count, after, begin in columns)
        """Whether no text stands between the visual tokens of any row."""
        self._numbers: dict[tuple[int, ...], Tensor] = {}

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def end(self) -> Tensor:
        """[B] `after`, on the device."""
        return self.ordinals.argmax(1) + 1

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

    def numbers(self, rows: Sequence[int], of: int) -> Tensor | None:
        """[G] numbers of rows, on the device; None if they are the first `of` rows, in order."""
        if len(rows) == of and all(i == b for i, b in enumerate(rows)):
            return None
        key = tuple(rows)
        if key not in self._numbers:  # copied there once: a copy from the host waits for the device
            self._numbers[key] = torch.tensor(key, device=self.valid.device)
        return self._numbers[key]
