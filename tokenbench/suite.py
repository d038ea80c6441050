"""What is asked of a model: samples, tasks and suites. Knows nothing of models or strategies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Box", "Sample", "Suite", "Task", "Video"]


@dataclass(frozen=True)
class Box:
    """A rectangle of an image, relative to its size: 0 is left or top, 1 is right or bottom.

    t0, t1: of a clip, the part it is seen in, relative to its length: 0 is the beginning, 1 the end.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    t0: float = 0.0
    t1: float = 1.0


@dataclass(frozen=True)
class Video:
    """A clip: all its frames, in order, `fps` of them a second. Models see every frame; a suite samples them."""

    frames: Sequence[Image]
    fps: float = 1.0


@dataclass(frozen=True)
class Sample:
    """One question.

    key: unique within its task, the same in every run and whatever the limit.
    cluster: the image asked about. Samples with the same cluster show the same images, in whatever task they are:
        they are rendered and encoded once, and statistics count the cluster as the unit.
    load: makes the images and clips, in the order in which the prompt shows them.
    evidence: boxes of the first of them that the answer depends on; empty if unknown.
    """

    key: str
    cluster: str
    question: str
    target: str
    load: Callable[[], Sequence[Image | Video]]
    evidence: tuple[Box, ...] = ()


class Task(ABC):
    """One benchmark: its samples and its scorer.

    Attributes: `name`, `description` (one line) and `max_new_tokens`, after which an answer is cut off.
    """

    name: str
    description: str = ""
    max_new_tokens: int = 16

    @abstractmethod
    def samples(self) -> Sequence[Sample]:
        """All samples, in an order of which every prefix is a fair smaller version (for `--limit`)."""

    @abstractmethod
    def score(self, answer: str, sample: Sample) -> float:
        """Score of one answer, 0 (wrong) to 1 (right)."""


@dataclass(frozen=True)
class Suite:
    """A named list of tasks. model: what runs it unless the user says otherwise; empty if they must say."""

    name: str
    description: str
    tasks: tuple[Task, ...]
    model: str = ""
