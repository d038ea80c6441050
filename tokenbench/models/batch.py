"""A batch of samples on its way through a model: loaded, encoded, ready to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor

from tokenbench.contract.suite import Sample, Video
from tokenbench.engine import Frame
from tokenbench.models.processing import pad_rows

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Batch", "Encoded", "Loaded"]


@dataclass(frozen=True)
class Encoded:
    """One image or clip after the encoder."""

    kind: str
    """`image` or `video`."""
    features: Tensor
    """Its features [tokens, C]."""
    frames: Sequence[Frame]
    """What the encoder recorded of its frames; empty unless it was requested."""


@dataclass(frozen=True)
class Loaded:
    """Samples whose images are in memory, not yet encoded."""

    samples: Sequence[Sample]
    """The samples, in the order of the rows."""
    shown: dict[str, Sequence[Image | Video]]
    """The images and clips of each cluster."""
    media: dict[str, dict[str, dict[str, Any]]]
    """For each kind and cluster, the processor's output for the images or clips that the cluster shows."""
    rows: Sequence[dict[str, Any]]
    """The processor's output for each prompt by itself."""
    pad: int
    """The id of the padding token."""

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        """The processor's output for all prompts, one row per sample, without pixels."""
        return pad_rows(self.rows, self.pad)

    def select(self, rows: Sequence[int]) -> Loaded:
        """Return some of the samples, with what their clusters show."""
        return replace(self, samples=[self.samples[b] for b in rows], rows=[self.rows[b] for b in rows])


@dataclass(frozen=True)
class Batch:
    """Samples that are ready to run."""

    samples: Sequence[Sample]
    """The samples, in the order of the rows."""
    inputs: dict[str, Tensor]
    """The processor's output for the prompts, such as `input_ids` [B, S], without pixels."""
    features: list[tuple[str, Tensor]]
    """The kind (`image` or `video`) and features [tokens, C] of everything that is shown, in the order of the rows."""
    clips: list[bool]
    """Whether a row begins with a clip."""
    frames: list[list[Frame]]
    """What the encoder recorded of each row's frames; empty unless it was requested."""
    same: list[int]
    """For every row, the first row with the same images after the same words."""
