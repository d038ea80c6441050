"""What is asked of a model: samples, tasks and suites. Knows nothing of models or strategies."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Box", "Sample", "Suite", "SuiteRequest", "Task", "UnitRule", "Video", "first"]

UnitRule = Literal["mean", "all", "mean+all"]


@dataclass(frozen=True)
class Box:
    """A rectangle of an image, relative to its size: 0 is left or top, 1 is right or bottom."""

    x0: float
    y0: float
    x1: float
    y1: float
    t0: float = 0.0
    """Of a clip, the part it is seen in, relative to its length: 0 is the beginning, 1 the end."""
    t1: float = 1.0
    """Of a clip, the part it is seen in, relative to its length: 0 is the beginning, 1 the end."""


@dataclass(frozen=True)
class Video:
    """A clip: all its frames, in order, `fps` of them a second. Models see every frame; a suite samples them."""

    frames: Sequence[Image]
    fps: float = 1.0


@dataclass(frozen=True)
class Sample:
    """One question."""

    key: str
    """Unique within its task, the same in every run and whatever the limit."""
    cluster: str
    """The image asked about. Samples with the same cluster show the same images, in whatever task they are: they are
    rendered and encoded once, and statistics count the cluster as the unit."""
    question: str
    target: str
    load: Callable[[], Sequence[Image | Video]]
    """Makes the images and clips, in the order in which the prompt shows them."""
    evidence: tuple[Box, ...] = ()
    """Boxes of the first of them that the answer depends on; empty if unknown."""
    unit: str = ""
    """What the task's metric counts, where that is several samples, which then stand side by side; empty for this
    sample alone."""
    stratum: str = ""
    """The part of the task that its metric averages on its own before it puts the parts together, if there are any."""
    origin: str = ""
    """Where a person finds it, such as file and row; only said, where the sample cannot be shown."""

    @cached_property
    def digest(self) -> str:
        """A hash of all that it says; pictures are known by their cluster's name alone."""
        boxes = [vars(box) for box in self.evidence]
        said = (self.key, self.cluster, self.question, self.target, self.unit, self.stratum, boxes)
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


class Task(ABC):
    """One benchmark: its samples and its scorer.

    Attributes: `name`, `description` (one line) and `max_new_tokens`, after which an answer is cut off. `unit_rule`: how the
    scores of a unit's samples become one score: their mean, 1 if all are 1, or halfway between the two. `notes`: what a user
    should know, by heading (source, size, licence).
    """

    name: str
    description: str = ""
    max_new_tokens: int = 16
    unit_rule: UnitRule = "mean"
    notes: Mapping[str, str] = MappingProxyType({})

    @property
    def identity(self) -> str:
        """What can change answers or scores besides the source: versions and data. Part of every cell's identity."""
        return ""

    @abstractmethod
    def samples(self) -> Sequence[Sample]:
        """All samples, always in the same order, of which every prefix is a fair smaller version: `--limit N` takes the first N."""

    @abstractmethod
    def score(self, answer: str, sample: Sample) -> float:
        """Score of one answer, 0 (wrong) to 1 (right)."""

    def official(self, answers: Mapping[str, str]) -> Mapping[str, float]:
        """The numbers the benchmark itself reports, by metric, for answers by sample key; on the benchmark's own scale."""
        return {}


@dataclass(frozen=True)
class Suite:
    """A named list of tasks."""

    name: str
    description: str
    tasks: tuple[Task, ...]
    model: str = ""
    """What runs it unless the user says otherwise; empty if they must say."""


@dataclass(frozen=True)
class SuiteRequest:
    """What a user says about a suite beyond its name; for suites that are functions of it."""

    names: tuple[str, ...] = ()
    """What follows the colon, as in `lmms:pope`."""
    data: Mapping[str, Path] = field(default_factory=dict)
    """Folders by the name of a task, or the part of it before an underscore, which then serves all such tasks."""
    definitions: tuple[Path, ...] = ()
    """Folders with task definitions of the user's own."""

    def folder(self, task: str) -> Path | None:
        """Where the user says that a task's data is."""
        return self.data.get(task) or self.data.get(task.partition("_")[0])


def first(task: Task, limit: int | None) -> Sequence[Sample]:
    """The first samples of a task, and what completes the last unit; all without a limit."""
    samples = task.samples()
    if limit is None:
        return samples
    end = min(limit, len(samples))
    while 0 < end < len(samples) and samples[end].unit and samples[end].unit == samples[end - 1].unit:
        end += 1
    return samples[:end]
