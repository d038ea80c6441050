"""RUN/left-out/<host>.<pid>.jsonl: the samples that a model cannot be asked, which are left out for all strategies alike."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from tokenbench.store import files
from tokenbench.store.manifest import Count, Name

__all__ = ["LeftOut", "LeftOuts", "Questions", "describe_left_out"]

Questions = Mapping[tuple[str, str], Set[tuple[str, str]]]
"""Questions as (sample, digest of its question), by model and task."""

FOLDER = "left-out"
NAMED = 3
"""The number of samples of a task that a sentence names."""


class LeftOut(BaseModel):
    """One sample that a model cannot be asked."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    model: Name
    task: Name
    sample: str
    """The key of the sample."""
    asked: str
    """The digest of its question."""
    place: Count
    """Its place in the task, counted from 1."""
    origin: Name = ""
    """Its file and row; empty if unknown."""
    reason: Name

    @property
    def description(self) -> str:
        """Where a person finds the sample, and what is wrong with it."""
        return f"sample {self.place} ({self.origin or self.sample}): {self.reason}"


class LeftOuts:
    """All samples that are left out of a run.

    Args:
        root: The run directory.
        writer: The name of this process.
    """

    def __init__(self, root: Path, writer: str) -> None:
        self._root, self._folder, self._writer = root, root / FOLDER, writer

    def add(self, samples: Iterable[LeftOut]) -> None:
        """Record samples, so that every process that resumes the run leaves them out as well."""
        files.make_folder(self._folder, self._root)
        path = self._folder / f"{self._writer}.jsonl"
        files.append_lines(path, self._root, (one.model_dump_json() for one in samples))

    def all(self) -> list[LeftOut]:
        """Return all of them without repetition, by model, task and place."""
        samples: dict[tuple[str, str, str, str], LeftOut] = {}
        for path in self._files():
            for line in files.read_lines(path, self._root):
                try:
                    one = LeftOut.model_validate(json.loads(line))
                except (ValueError, ValidationError, RecursionError):
                    continue  # torn by a crash: the sample is tried again
                samples.setdefault((one.model, one.task, one.sample, one.asked), one)
        return sorted(samples.values(), key=lambda one: (one.model, one.task, one.place))

    def questions(self) -> Questions:
        """Return their questions."""
        questions: defaultdict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
        for one in self.all():
            questions[one.model, one.task].add((one.sample, one.asked))
        return questions

    def forget(self) -> None:
        """Forget all of them, so that they are tried again."""
        for path in self._files():
            files.remove(path, self._root)

    def _files(self) -> list[Path]:
        return [self._folder / name for name in files.names(self._folder, self._root) if name.endswith(".jsonl")]


def describe_left_out(left_out: Iterable[LeftOut], samples: dict[str, int]) -> list[str]:
    """Return a sentence per model and task on what was left out.

    Args:
        left_out: The samples that were left out.
        samples: The number of samples by task.
    """
    by_task: dict[tuple[str, str], list[LeftOut]] = {}
    for one in left_out:
        by_task.setdefault((one.model, one.task), []).append(one)
    return [
        f"{model}: {len(own)} of {samples.get(task, len(own)):,} samples of task '{task}' cannot be processed by the model and are left out for "
        f"all strategies alike: {'; '.join(one.description for one in own[:NAMED])}"
        + (f"; and {len(own) - NAMED} more, listed in the run's folder {FOLDER}" if len(own) > NAMED else "")
        for (model, task), own in by_task.items()
    ]
