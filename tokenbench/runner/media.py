"""The images and clips of a run: each is loaded once, for all questions about it, and held until the last of them has been asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tokenbench.contract.suite import Sample, Video
from tokenbench.runner.batches import QuestionBatch

if TYPE_CHECKING:
    from PIL.Image import Image

    Shown = Sequence[Image | Video]

__all__ = ["HELD_BYTES", "Media"]

HELD_BYTES = 2**31
"""How much is held for later batches, as decoded pixels. What does not fit is loaded again."""
CHANNELS = 3


class Media:
    """What clusters show, in the order in which a worker asks about them.

    Args:
        most: How many bytes are held for later batches.
    """

    def __init__(self, most: int = HELD_BYTES) -> None:
        self._most = most
        self._held: dict[str, Shown] = {}
        self._last: dict[str, int] | None = None
        self._now = 0

    @property
    def held_bytes(self) -> int:
        """How much is held now."""
        return sum(map(_size, self._held.values()))

    def expect(self, batches: Iterable[QuestionBatch]) -> None:
        """Announce the batches, in the order in which they will be loaded."""
        self._last = {sample.cluster: at for at, batch in enumerate(batches) for _, sample in batch.questions}
        self.begin(0)

    def begin(self, batch: int) -> None:
        """Announce the batch that is loaded next, and release what no batch from there on asks about."""
        self._now, last = batch, self._last or {}
        self._held = {cluster: shown for cluster, shown in self._held.items() if last.get(cluster, -1) >= batch}

    def load(self, sample: Sample) -> Shown:
        """Return what a sample shows. It is held if later batches ask about it, or none have been announced."""
        shown = self._held.pop(sample.cluster, None)
        if shown is None:
            shown = sample.load()
        later = self._last is None or self._last.get(sample.cluster, -1) > self._now
        if later and self.held_bytes + _size(shown) <= self._most:
            self._held[sample.cluster] = shown
        return shown


def _size(shown: Shown) -> int:
    frames = [frame for item in shown for frame in (item.frames if isinstance(item, Video) else [item])]
    return sum(CHANNELS * getattr(frame, "width", 0) * getattr(frame, "height", 0) for frame in frames)
