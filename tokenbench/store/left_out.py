"""RUN/left-out/<host>.<pid>.jsonl: the samples that a model cannot be asked, left out for all strategies alike."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from tokenbench.store import files
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
        files.make_folder(self._folder, self._root)
        path = self._folder / f"{self._writer}.jsonl"
        files.append_lines(path, self._root, (one.model_dump_json() for one in found))

    def all(self) -> list[LeftOut]:
        """Each once, by task and place."""
        found: dict[tuple[str, str, str, str], LeftOut] = {}
        for path in self._files():
            for line in files.read_lines(path, self._root):
                try:
                    one = LeftOut.model_validate(json.loads(line))
                except (ValueError, ValidationError, RecursionError):
                    continue  # torn by a crash: the sample is tried again
                found.setdefault((one.model, one.task, one.sample, one.asked), one)
        return sorted(found.values(), key=lambda one: (one.model, one.task, one.place))

    def questions(self) -> Mapping[tuple[str, str], Set[tuple[str, str]]]:
        """By model and task, as (sample, digest of its question)."""
        found: defaultdict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
        for one in self.all():
            found[one.model, one.task].add((one.sample, one.asked))
        return found

    def forget(self) -> None:
        """Let all be tried again."""
        for path in self._files():
            files.remove(path, self._root)

    def _files(self) -> list[Path]:
        return [self._folder / name for name in files.names(self._folder, self._root) if name.endswith(".jsonl")]


def sentences(found: Iterable[LeftOut], samples: dict[str, int]) -> list[str]:
    """What a reader has to know, a sentence a model and task. samples: how many each task has."""
    by_task: dict[tuple[str, str], list[LeftOut]] = {}
    for one in found:
        by_task.setdefault((one.model, one.task), []).append(one)
    return [
        f"{model}: {len(own)} of {samples.get(task, len(own)):,} samples of task '{task}' cannot be processed by the model and are left out for "
        f"all strategies alike: {'; '.join(one.named for one in own[:NAMED])}"
        + (f"; and {len(own) - NAMED} more, listed in the run's folder {FOLDER}" if len(own) > NAMED else "")
        for (model, task), own in by_task.items()
    ]
