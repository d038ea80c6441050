"""RUN/left-out/<host>.<pid>.jsonl: the samples that a model cannot be asked, left out for all strategies alike."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from tokenbench.store.foreign import within
from tokenbench.store.manifest import Count, Name

__all__ = ["LeftOut", "LeftOuts", "sentences"]

FOLDER = "left-out"
NAMED = 3  # of a task's, in a sentence


class LeftOut(BaseModel):
    """One sample. asked: the digest of its question. place: in its task, counted from 1. origin: its file and row, if known."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    model: Name
    task: Name
    sample: str
    asked: str
    place: Count
    origin: Name = ""
    reason: Name

    @property
    def named(self) -> str:
        """Where a person finds it, and what is wrong with it."""
        return f"sample {self.place} ({self.origin or self.sample}): {self.reason}"


class LeftOuts:
    """All of a run directory."""

    def __init__(self, root: Path, writer: str) -> None:
        self._root, self._folder, self._writer = root, root / FOLDER, writer

    def add(self, found: Iterable[LeftOut]) -> None:
        """Remember samples, so that whoever goes on with the run leaves them out as well."""
        lines = "".join(f"\n{one.model_dump_json()}\n" for one in found)  # a torn line is ended first
        within(self._folder, self._root).mkdir(exist_ok=True)
        with within(self._folder / f"{self._writer}.jsonl", self._root).open("ab") as file:
            file.write(lines.encode())

    def all(self) -> list[LeftOut]:
        """Each once, by task and place."""
        found: dict[tuple[str, str, str, str], LeftOut] = {}
        for path in sorted(self._folder.glob("*.jsonl")):
            for line in within(path, self._root).read_bytes().split(b"\n"):
                try:
                    one = LeftOut.model_validate(json.loads(line))
                except (ValueError, ValidationError, RecursionError):
                    continue  # torn by a crash: the sample is tried again
                found.setdefault((one.model, one.task, one.sample, one.asked), one)
        return sorted(found.values(), key=lambda one: (one.model, one.task, one.place))

    def questions(self, model: str, task: str) -> frozenset[tuple[str, str]]:
        """Of a task, as (sample, digest of its question)."""
        return frozenset((one.sample, one.asked) for one in self.all() if (one.model, one.task) == (model, task))

    def forget(self) -> None:
        """Let all be tried again."""
        for path in self._folder.glob("*.jsonl"):
            path.unlink(missing_ok=True)


def sentences(found: Iterable[LeftOut], samples: dict[str, int]) -> list[str]:
    """What a reader has to know, a sentence a model and task. samples: how many each task has."""
    by_task: dict[tuple[str, str], list[LeftOut]] = {}
    for one in found:
        by_task.setdefault((one.model, one.task), []).append(one)
    return [
        f"{model}: {len(own)} of {samples.get(task, len(own)):,} samples of task '{task}' cannot be asked and are left out for all "
        f"strategies alike: {'; '.join(one.named for one in own[:NAMED])}"
        + (f"; and {len(own) - NAMED} more, which the folder {FOLDER} of the run names" if len(own) > NAMED else "")
        for (model, task), own in by_task.items()
    ]
