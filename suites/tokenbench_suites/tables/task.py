"""A table of one's own as a task."""

from __future__ import annotations

import hashlib
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from PIL import Image

from tokenbench.contract import scorers
from tokenbench.contract.sampling import DEFAULT_SAMPLING, FrameSampling
from tokenbench.contract.suite import Sample, Suite, SuiteRequest, Task, Video
from tokenbench.errors import UsageError, unknown
from tokenbench_suites.clip_files import read_clip
from tokenbench_suites.images import check_regular, open_image
from tokenbench_suites.tables.columns import NAMES, find_columns, read_list, read_options
from tokenbench_suites.tables.reading import Row, read_table

__all__ = ["SCORERS", "TableTask", "suite"]

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
ASKED = "\nAnswer with the option's letter from the given choices directly."


class Answer(NamedTuple):
    """What a row says about its answer."""

    targets: list[str]
    """The right answers."""
    options: list[str]
    """The options; empty if there are none."""


Scoring = Callable[[str, Answer, Mapping[str, float]], float]
SCORERS: dict[str, Scoring] = {
    "exact": lambda said, row, _: scorers.exact(said, row.targets),
    "contains": lambda said, row, _: scorers.contains(said, row.targets),
    "choice": lambda said, row, _: scorers.choice(said, row.targets[0], row.options),
    "numeric": lambda said, row, numbers: max(scorers.numeric(said, target, **numbers) for target in row.targets),
    "anls": lambda said, row, numbers: scorers.anls(said, row.targets, **numbers),
    "vqa": lambda said, row, _: scorers.vqa_accuracy(said, row.targets),
    "iou": lambda said, row, numbers: max(scorers.box_overlap(said, target, **numbers) for target in row.targets),
}
"""The scorers by the names that users write."""
SETTINGS = {"numeric": "tolerance", "anls": "threshold", "iou": "threshold"}
"""The number that a scorer takes."""
LENGTHS = {"choice": 8, "iou": 48}
"""How many tokens an answer may have; 32 for the other scorers."""


class TableTask(Task):
    """A table with a row for each question.

    Args:
        name: The name of the task.
        path: The file. Names of pictures in it are relative to its folder.
        settings: Columns and the scorer, by what they are.
        sampling: Which frames of clips are shown.

    Raises:
        UsageError: A setting is unknown.
    """

    def __init__(
        self, name: str, path: Path, settings: Mapping[str, str], sampling: FrameSampling = DEFAULT_SAMPLING
    ) -> None:
        self.name, self._path, self._settings, self._sampling = name, path, dict(settings), sampling
        known = (*NAMES, "scorer", "tokens", *SETTINGS.values())
        for setting in settings:
            if setting not in known:
                raise unknown(f"setting of {path.name}", setting, known)
        if settings.get("scorer", "exact") not in SCORERS:
            raise unknown("scorer", settings["scorer"], SCORERS)
        self.description = f"The questions in {path.name}"
        self.notes = {"source": str(path), "columns": ", ".join(NAMES), "scorers": ", ".join(SCORERS)}

    @property
    def identity(self) -> str:
        """A hash of the table, and the settings. Pictures enter the samples' clusters."""
        digest = hashlib.sha256(check_regular(self._path).read_bytes()).hexdigest()[:16]
        return f"{digest} {sorted(self._settings.items())}"

    @cached_property
    def sampling(self) -> FrameSampling | None:
        """Which frames of its clips are shown; None if it shows images only."""
        clips = (_is_clip(item) for row in self._rows for item in self._media(row))
        return self._sampling if any(clips) else None

    def samples(self) -> Sequence[Sample]:
        """Return the rows in an order that has nothing to do with that of the table.

        Raises:
            UsageError: The table, or a row of it, is not as it should be.
            MachineError: A picture is missing.
        """
        return self._samples

    def score(self, answer: str, sample: Sample) -> float:
        """The score by the scorer of the table."""
        return SCORERS[self._scorer](answer, self._answers[sample.key], self._numbers)

    @cached_property
    def _rows(self) -> list[Row]:
        return read_table(self._path)

    @cached_property
    def _columns(self) -> dict[str, str]:
        names = dict.fromkeys(name for row in self._rows for name in row.values)
        given = {what: column for what, column in self._settings.items() if what in NAMES}
        return find_columns(self._path.name, list(names), given)

    @cached_property
    def _scorer(self) -> str:
        if "scorer" in self._settings:
            return self._settings["scorer"]
        return (
            "choice" if any(read_options(row.values, self._columns.get("options")) for row in self._rows) else "exact"
        )

    @cached_property
    def _numbers(self) -> dict[str, float]:
        """The number that the user gave the scorer."""
        name = SETTINGS.get(self._scorer, "")
        for other in set(SETTINGS.values()) - {name}:
            if other in self._settings:
                raise UsageError(f"the scorer '{self._scorer}' takes no {other}", "leave it out")
        return {name: self._number(name)} if name in self._settings else {}

    def _number(self, name: str) -> float:
        try:
            return float(self._settings[name])
        except ValueError:
            raise UsageError(
                f"{name}={self._settings[name]} is not a number", f"write, for example, {name}=0.1"
            ) from None

    @cached_property
    def _samples(self) -> list[Sample]:
        if "tokens" in self._settings:
            self.max_new_tokens = max(1, int(self._number("tokens")))
        else:
            self.max_new_tokens = LENGTHS.get(self._scorer, 32)
        self._answers: dict[str, Answer] = {}
        seen: Counter[str] = Counter()
        hashes: dict[Path, str] = {}
        clusters: dict[str, tuple[str, str]] = {}
        samples = [self._sample(row, seen, hashes, clusters) for row in self._rows]
        return sorted(samples, key=lambda sample: hashlib.sha256(sample.key.encode()).digest())

    def _sample(
        self, row: Row, seen: Counter[str], hashes: dict[Path, str], clusters: dict[str, tuple[str, str]]
    ) -> Sample:
        media = self._media(row)
        shown = "-".join(_hash(item, hashes) for item in media)
        answer, question = self._answer(row), self._text(row, "question")
        cluster = f"media-{shown}"
        if "cluster" in self._columns:
            cluster = self._text(row, "cluster")
            first, there = clusters.setdefault(cluster, (row.place, shown))
            if there != shown:
                raise self._error(
                    row, "cluster", f"is '{cluster}' as in {first}, which shows another picture", "give it another name"
                )
        said = hashlib.sha256(repr((shown, question, answer)).encode()).hexdigest()[:16]
        seen[said] += 1
        key = said if seen[said] == 1 else f"{said}-{seen[said]}"
        self._answers[key] = answer
        listed = "".join(
            f"\n{letter}. {text}" for letter, text in zip(string.ascii_uppercase, answer.options, strict=False)
        )
        return Sample(
            key=key,
            cluster=cluster,
            question=question + (listed + ASKED if listed else ""),
            target=" | ".join(answer.targets),
            load=partial(_load, media, f"the picture of {self._path}, {row.place}", self._sampling),
            origin=f"{self._path}, {row.place}",
        )

    def _answer(self, row: Row) -> Answer:
        """The right answers and options of a row, checked by scoring the right answer."""
        value, column = row.values.get(self._columns["answer"]), self._columns["answer"]
        targets = [str(value)] if self._scorer == "iou" and value is not None else read_list(value)
        if not targets:
            raise self._error(row, "answer", "is empty", "write the right answer there, or remove the row")
        answer = Answer(targets, read_options(row.values, self._columns.get("options")))
        if self._scorer == "choice" and len(answer.options) < 2:
            raise self._error(row, "options", "has no two options", "write them with bars between them: red | green")
        try:
            score = SCORERS[self._scorer](targets[0], answer, self._numbers)
        except ValueError as error:
            raise self._error(row, "answer", f"cannot be right: {error}", "mend it, or choose another scorer") from None
        if not score:
            raise self._error(
                row,
                "answer",
                f"'{targets[0]}' is wrong by the scorer '{self._scorer}'",
                f"use the column {column} with another scorer",
            )
        return answer

    def _media(self, row: Row) -> list[Path | bytes]:
        """The files of a row's pictures or clips, or their bytes."""
        value = row.values.get(self._columns["image"])
        items = value if isinstance(value, list) else [value]
        if isinstance(value, str):
            items = read_list(value)
        media: list[Path | bytes] = []
        for item in items:
            inner = item.get("bytes") or item.get("path") if isinstance(item, Mapping) else item
            if isinstance(inner, bytes):
                media.append(inner)
            elif inner:
                media.append(self._file(row, str(inner)))
        if not media:
            raise self._error(row, "image", "is empty", "write the name of a file there, or remove the row")
        return media

    def _file(self, row: Row, name: str) -> Path:
        folder = self._path.parent
        for place in (folder / name, folder / "images" / name, folder / "videos" / name):
            if place.is_file():
                return place
        raise self._error(row, "image", f"names the file '{name}', which is not in {folder}", "put it there")

    def _text(self, row: Row, what: str) -> str:
        text = str(row.values.get(self._columns[what]) or "").strip()
        if not text:
            raise self._error(row, what, "is empty", "fill it in, or remove the row")
        return text

    def _error(self, row: Row, what: str, problem: str, mend: str) -> UsageError:
        return UsageError(f"{self._path}, {row.place}: column '{self._columns.get(what, what)}' {problem}", mend)


def _hash(item: Path | bytes, known: dict[Path, str]) -> str:
    if isinstance(item, bytes):
        return hashlib.sha256(item).hexdigest()[:20]
    if item not in known:
        known[item] = hashlib.sha256(check_regular(item).read_bytes()).hexdigest()[:20]
    return known[item]


def _load(media: Sequence[Path | bytes], name: str, sampling: FrameSampling) -> list[Image.Image | Video]:
    return [_open(item, name, sampling) for item in media]


def _open(item: Path | bytes, name: str, sampling: FrameSampling) -> Image.Image | Video:
    return read_clip(item, sampling) if _is_clip(item) else open_image(item, name)


def _is_clip(item: Path | bytes) -> TypeGuard[Path]:
    return isinstance(item, Path) and item.suffix.lower() not in PICTURES


def suite(request: SuiteRequest) -> Suite:
    """The tables that a user names: `csv:NAME` with `--data NAME=FILE`, which is what `mine.csv` stands for.

    What follows the name are settings, such as `csv:mine:scorer=anls`.
    """
    tasks = []
    for text in request.names:
        name, *settings = text.split(":")
        pairs: dict[str, Any] = {}
        for setting in settings:
            what, equals, value = setting.partition("=")
            if not equals:
                raise UsageError(f"'{setting}' is not a setting of a table", "write, for example, :scorer=contains")
            pairs[what] = value
        path = request.folder(name)
        if path is None:
            raise UsageError(f"the table '{name}' has no file", f"name it: --data {name}=FILE")
        tasks.append(TableTask(name, path, pairs, request.sampling))
    return Suite("table", "Questions from a table of your own", tuple(tasks), model="toy-llava")
