"""A batch of samples on its way through a model: loaded, encoded, ready to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor

from tokenbench.contract.suite import Sample
from tokenbench.engine import Frame
from tokenbench.models.processing import KINDS, pad_rows

if TYPE_CHECKING:
    from PIL.Image import Image

    from tokenbench.contract.suite import Video

    Load = Callable[[Sample], Sequence[Image | Video]]

__all__ = ["Batch", "Encoded", "Loaded", "in_order"]


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
    """Samples that the processor has processed, not yet encoded. Their images and clips themselves are no longer held."""

    samples: Sequence[Sample]
    """The samples, in the order of the rows."""
    kinds: Mapping[str, Sequence[str]]
    """The kind (`image` or `video`) of each thing that a cluster shows, in the order in which it does."""
    media: Mapping[str, Mapping[str, dict[str, Any]]]
    """For each kind and cluster, the processor's output for the images or clips that the cluster shows."""
    rows: Sequence[dict[str, Any]]
    """The processor's output for each prompt by itself."""
    pad: int
    """The id of the padding token."""

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        """The processor's output for the prompts, one row per sample, without pixels."""
        return pad_rows(self.rows, self.pad)

    @classmethod
    def join(cls, parts: Sequence[Loaded]) -> Loaded:
        """Return the samples of several loads, which are of different clusters, as if they had been loaded together."""
        return cls(
            [sample for part in parts for sample in part.samples],
            {cluster: kinds for part in parts for cluster, kinds in part.kinds.items()},
            {kind: {c: made for part in parts for c, made in part.media[kind].items()} for kind in KINDS},
            [row for part in parts for row in part.rows],
            parts[0].pad,
        )

    def select(self, places: Sequence[int]) -> Loaded:
        """Return some of the samples, by their rows, as if only they had been loaded."""
        samples = [self.samples[at] for at in places]
        left = {sample.cluster for sample in samples}
        media = {kind: {c: made for c, made in own.items() if c in left} for kind, own in self.media.items()}
        kinds = {cluster: kinds for cluster, kinds in self.kinds.items() if cluster in left}
        return Loaded(samples, kinds, media, [self.rows[at] for at in places], self.pad)


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


def in_order(kinds: Sequence[str], by_kind: dict[str, dict[str, list[Encoded]]], cluster: str) -> list[Encoded]:
    """Return what a cluster shows, encoded, in its order; the parts of one image, if there are several, follow each other."""
    if len(set(kinds)) == 1:
        return by_kind[kinds[0]][cluster]
    items = {kind: iter(by_kind[kind][cluster]) for kind in set(kinds)}
    return [next(items[kind]) for kind in kinds] + [part for left in items.values() for part in left]
