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

from tokenbench.contract.sampling import DEFAULT_SAMPLING, FrameSampling

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["HERE", "Box", "Sample", "Suite", "SuiteRequest", "Task", "UnitRule", "Video", "first", "hold_out"]

UnitRule = Literal["mean", "all", "mean+all"]
HERE = "\N{OBJECT REPLACEMENT CHARACTER}"
"""Stands in a question where an image or clip stands between its words."""


@dataclass(frozen=True)
class Box:
    """A rectangle of an image or clip that an answer depends on, in coordinates relative to the image.

    In a clip it also has a beginning and an end, relative to the clip's length.
    """

    x0: float
    """Left edge; 0 is the left of the image, 1 its right."""
    y0: float
    """Upper edge; 0 is the top of the image, 1 its bottom."""
    x1: float
    """Right edge."""
    y1: float
    """Lower edge."""
    t0: float = 0.0
    """When the rectangle appears in a clip; 0 is the clip's beginning, 1 its end."""
    t1: float = 1.0
    """When it disappears."""


@dataclass(frozen=True)
class Video:
    """A clip. Models see every frame in it, so that the suite decides which frames are sampled.

    If the user may choose, the suite follows `SuiteRequest.sampling`.
    """

    frames: Sequence[Image]
    """The frames, in order."""
    fps: float = 1.0
    """Frames per second, which some models' prompts state."""
    start: float = 0.0
    """When the first frame is seen, in seconds, which some models' prompts state."""


@dataclass(frozen=True)
class Sample:
    """One question about images or clips, with its answer."""

    key: str
    """Its name, unique within the task. It must be the same in every run and under every limit, since stored answers
    are found by it."""
    cluster: str
    """The image that the question is about. Samples with the same cluster show the same images, in whatever task they
    are: the images are rendered and encoded once, and the statistics treat the cluster as the unit of sampling."""
    question: str
    """The text of the prompt. Images and clips stand before it. If it holds `HERE`, they stand there instead, the first one at the first
    place; there must then be a place for each of them."""
    target: str
    """The right answer."""
    load: Callable[[], Sequence[Image | Video]]
    """Loads the images and clips, in the order in which the prompt shows them. It is called only when the sample is
    answered."""
    evidence: tuple[Box, ...] = ()
    """Boxes of the first image or clip that the answer depends on; empty if they are not known."""
    unit: str = ""
    """What the task's metric counts, if that is several samples (such as the rotations of one question), which must
    then follow each other. Empty if the sample counts on its own."""
    stratum: str = ""
    """The part of the task that its metric averages on its own, before it combines the parts. A part may have parts:
    `direction > easy` is within `direction`, which counts as much as any other. Empty if there are no parts."""
    origin: str = ""
    """Where a person finds the sample, such as a file and a row. It is only printed, in messages about samples that
    cannot be shown."""
    place: int = 0
    """Its place in the data, for suites whose samples are in another order. In a run with turns, questions about one image are asked by
    their places, and those with the same place in the order of `Task.samples`."""
    turn: int = 1
    """Its place among the questions that are asked of the same tokens. A run with turns sets it; suites leave it as it is."""
    opening: Sample | None = None
    """The first of these questions, on which the tokens are chosen. None for that question itself, and in runs without
    turns; suites leave it as it is."""

    @cached_property
    def digest(self) -> str:
        """A hash of everything that the sample says. Images enter it through the name of their cluster alone.

        That of a later question also depends on the first one, which chooses the tokens.
        """
        boxes = [vars(box) for box in self.evidence]
        said: tuple[object, ...]
        said = (self.key, self.cluster, self.question, self.target, self.unit, self.stratum, boxes)
        if self.opening is not None:
            said += (self.turn, self.opening.digest)
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


class Task(ABC):
    """One benchmark: its samples and how an answer is scored."""

    name: str
    """Its name on the command line and in tables."""
    description: str = ""
    """What it asks, in one line."""
    max_new_tokens: int = 16
    """The number of tokens after which an answer is cut off."""
    unit_rule: UnitRule = "mean"
    """How the scores of a unit's samples become one score: their mean (`mean`), 1 if all of them are 1 and else 0
    (`all`), or the average of these two (`mean+all`)."""
    notes: Mapping[str, str] = MappingProxyType({})
    """What a user should know, by heading (source, size, licence)."""
    graded: bool = False
    """Whether a score says how good an answer is and not whether it is right, as for captions. Reports then do not count its answers as
    right or wrong. Read after `samples` was called."""
    remarks: Sequence[str] = ()
    """Sentences that reports print, for readers of the scores. Read after `samples` was called."""

    @property
    def identity(self) -> str:
        """Whatever besides the source code can change answers or scores, such as versions of libraries and data.

        It is part of every cell's identity: stored answers are used again only while it stays the same.
        """
        return ""

    @property
    def files(self) -> Sequence[Path]:
        """The user's own files that the samples are read from, with the table or list of questions first.

        `tokenbench new suite --from` copies them. A task that makes its samples itself, or downloads them, has none.
        """
        return ()

    @property
    def sampling(self) -> FrameSampling | None:
        """Which frames of its clips are shown, if that follows from `SuiteRequest.sampling`.

        None if it shows no clips, or clips whose frames are fixed. It is part of every cell's identity.
        """
        return None

    @abstractmethod
    def samples(self) -> Sequence[Sample]:
        """Return all samples, always in the same order.

        `--limit N` takes the first N, so that every prefix should be a fair smaller version of the task.
        """

    @abstractmethod
    def score(self, answer: str, sample: Sample) -> float:
        """Score one answer.

        Args:
            answer: What the model wrote.
            sample: The sample that it answers.

        Returns:
            A number from 0 (wrong) to 1 (right).
        """

    def official(self, answers: Mapping[str, str]) -> Mapping[str, float]:
        """Compute the numbers that the benchmark itself reports, on the benchmark's own scale.

        Args:
            answers: The answers by `Sample.key`.

        Returns:
            The numbers by the name of the metric; nothing if the mean score is all that the benchmark reports.
        """
        return {}


@dataclass(frozen=True)
class Suite:
    """A named list of tasks."""

    name: str
    """Its name on the command line."""
    description: str
    """What it measures, in one line."""
    tasks: tuple[Task, ...]
    """The tasks, in the order in which they are run and shown."""
    model: str = ""
    """The model that runs it by default; empty if the user must name one."""


@dataclass(frozen=True)
class SuiteRequest:
    """What a user says about a suite besides its name, for suites that are functions of it."""

    names: tuple[str, ...] = ()
    """What follows the colon, such as `pope` in `lmms:pope`."""
    data: Mapping[str, Path] = field(default_factory=dict)
    """Folders with local data, or files, by the name of a task, or by the part of it before an underscore, which then serves all
    tasks that begin so."""
    definitions: tuple[Path, ...] = ()
    """Folders with the user's own task definitions."""
    sampling: FrameSampling = DEFAULT_SAMPLING
    """Which frames of clips the user wants to be shown."""

    def folder(self, task: str) -> Path | None:
        """Return the folder or file with a task's local data, or None if the user named none."""
        return self.data.get(task) or self.data.get(task.partition("_")[0])


def first(task: Task, limit: int | None, held_out: int | None = 0) -> Sequence[Sample]:
    """Return the first samples of a task, and those that complete the last unit.

    Args:
        task: The task.
        limit: How many samples; all of them if it is None.
        held_out: How many samples at the beginning are left out (see `hold_out`).
    """
    samples = task.samples()
    start = len(hold_out(task, held_out)) if held_out else 0
    if limit is None:
        return samples[start:] if start else samples
    return samples[start : _end_of_unit(samples, start + limit)]


def hold_out(task: Task, count: int) -> Sequence[Sample]:
    """Return the first samples of a task, which `first` leaves out: at most a quarter of the task, up to the end of a unit.

    Args:
        task: The task.
        count: How many samples.
    """
    samples = task.samples()
    return samples[: _end_of_unit(samples, min(count, len(samples) // 4))]


def _end_of_unit(samples: Sequence[Sample], end: int) -> int:
    """Return where the unit ends to which the last of the first `end` samples belongs."""
    end = min(end, len(samples))
    while 0 < end < len(samples) and samples[end].unit and samples[end].unit == samples[end - 1].unit:
        end += 1
    return end
