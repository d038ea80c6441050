"""A table of one's own as a task."""

from __future__ import annotations

import hashlib
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from tokenbench.contract.sampling import DEFAULT_SAMPLING, FrameSampling
from tokenbench.contract.suite import Sample, Task
from tokenbench.errors import UsageError, unknown
from tokenbench_suites.tables.columns import NAMES, find_columns, read_list, read_options, read_text
from tokenbench_suites.tables.pictures import Medium, Stored, find_file, hash_medium, is_clip, load
from tokenbench_suites.tables.reading import Row, Source, TableFile
from tokenbench_suites.tables.scoring import LENGTHS, SCORERS, SETTINGS, Answer

__all__ = ["TableTask"]

ASKED = "\nAnswer with the option's letter from the given choices directly."
T = TypeVar("T")


class TableTask(Task):
    """A table with a row for each question.

    Args:
        name: The name of the task.
        table: The file, or where else the rows come from. Names of pictures are relative to its folder.
        settings: Columns, the scorer and its number, and `tokens`, as they are written behind the name of a file: `{"scorer": "anls"}`.
        sampling: Which frames of clips are shown.

    Raises:
        UsageError: A setting is unknown.
    """

    def __init__(
        self,
        name: str,
        table: Path | Source,
        settings: Mapping[str, str] | None = None,
        sampling: FrameSampling = DEFAULT_SAMPLING,
    ) -> None:
        self.name, self._settings, self._sampling = name, dict(settings or {}), sampling
        self._table: Source = TableFile(table) if isinstance(table, Path) else table
        self._found: dict[str, Path | tuple[str, str]] = {}
        shown = Path(self._table.name).name
        known = (*NAMES, "scorer", "tokens", *SETTINGS.values())
        for setting in self._settings:
            if setting not in known:
                raise unknown(f"setting of {shown}", setting, dict.fromkeys(known))
        if self._settings.get("scorer", "exact") not in SCORERS:
            raise unknown("scorer", self._settings["scorer"], SCORERS)
        self.description = f"The questions in {shown}"
        self.notes = {"source": self._table.name, "columns": ", ".join(NAMES), "scorers": ", ".join(SCORERS)}

    @property
    def identity(self) -> str:
        """How answers are scored, the settings, and the version of a data set.

        What the rows say is part of the identity of each sample. Stored answers therefore stay valid while rows are added.
        """
        return f"{self._table.identity} {self._scorer} {sorted(self._settings.items())}".strip()

    @property
    def files(self) -> Sequence[Path]:
        """The table, and the pictures and clips that it names; none if it is not a file."""
        if not isinstance(self._table, TableFile):
            return ()
        named = (item for row in self._rows for item in self._media(row))
        return list(dict.fromkeys([self._table.path, *(item for item in named if isinstance(item, Path))]))

    @cached_property
    def sampling(self) -> FrameSampling | None:
        """Which frames of its clips are shown; None if it shows images only."""
        clips = (is_clip(item) for row in self._rows for item in self._media(row))
        return self._sampling if any(clips) else None

    def samples(self) -> Sequence[Sample]:
        """Return the rows picture by picture.

        The order of the pictures has nothing to do with that of the table, which may be sorted. Questions about one picture stay in the order of
        the table.

        Raises:
            UsageError: The table, or a row of it, is not as it should be.
            MachineError: The table is missing.
        """
        return self._samples

    def score(self, answer: str, sample: Sample) -> float:
        """Return the score by the scorer of the table."""
        return SCORERS[self._scorer](answer, self._answers[sample.key], self._numbers)

    @cached_property
    def _rows(self) -> list[Row]:
        return self._table.rows()

    @cached_property
    def _columns(self) -> dict[str, str]:
        names = dict.fromkeys(name for row in self._rows for name in row.values)
        given = {what: column for what, column in self._settings.items() if what in NAMES}
        return find_columns(Path(self._table.name).name, list(names), given)

    @cached_property
    def _scorer(self) -> str:
        if "scorer" in self._settings:
            return self._settings["scorer"]
        return "choice" if any(self._options(row) for row in self._rows) else "exact"

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
            number = float(self._settings[name])
        except ValueError:
            number = -1.0
        if not 0 <= number < float("inf"):
            raise UsageError(
                f"{name}={self._settings[name]} is not a number of 0 or more", f"write, for example, {name}=0.1"
            )
        return number

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
        return sorted(samples, key=lambda sample: hashlib.sha256(sample.cluster.encode()).digest())

    def _sample(
        self, row: Row, seen: Counter[str], hashes: dict[Path, str], clusters: dict[str, tuple[str, str]]
    ) -> Sample:
        media = self._media(row)
        shown = "-".join(hash_medium(item, hashes) for item in media)
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
            target=answer.usual,
            load=partial(load, media, f"the picture of {self._table.name}, {row.place}", self._sampling),
            origin=f"{self._table.name}, {row.place}",
        )

    def _answer(self, row: Row) -> Answer:
        """The right answers and options of a row, checked by scoring the right answer."""
        value, column = self._value(row, "answer"), self._columns["answer"]
        boxes = self._scorer == "iou" and value is not None
        targets = [str(value)] if boxes else self._read(row, "answer", read_list, value)
        if not targets:
            raise self._error(row, "answer", "is empty", "write the right answer there, or remove the row")
        answer = Answer(targets, self._options(row))
        if self._scorer == "choice" and len(answer.options) < 2:
            raise self._error(row, "options", "has no two options", "write them with bars between them: red | green")
        try:
            score = SCORERS[self._scorer](answer.usual, answer, self._numbers)
        except ValueError as error:
            raise self._error(row, "answer", f"cannot be right: {error}", "mend it, or choose another scorer") from None
        if not score:
            raise self._error(
                row,
                "answer",
                f"'{answer.usual}' is wrong by the scorer '{self._scorer}'",
                f"use the column {column} with another scorer",
            )
        return answer

    def _options(self, row: Row) -> list[str]:
        return self._read(row, "options", partial(read_options, row.values), self._columns.get("options"))

    def _media(self, row: Row) -> list[Medium]:
        """The files of a row's pictures or clips, their bytes, or where they are stored."""
        value = self._value(row, "image")
        media: list[Medium] = []
        for item in value if isinstance(value, list) else [value]:
            inner = item.get("bytes") or item.get("path") if isinstance(item, Mapping) else item
            if isinstance(inner, bytes | Stored):
                media.append(inner)
            else:
                media += [self._file(row, name) for name in self._read(row, "image", read_list, inner)]
        if not media:
            raise self._error(row, "image", "is empty", "write the name of a file there, or remove the row")
        return media

    def _file(self, row: Row, name: str) -> Path:
        if name not in self._found:
            self._found[name] = find_file(self._table.folder, name)
        found = self._found[name]
        if isinstance(found, Path):
            return found
        raise self._error(row, "image", *found)

    def _text(self, row: Row, what: str) -> str:
        text = self._read(row, what, read_text, self._value(row, what))
        if not text:
            raise self._error(row, what, "is empty", "fill it in, or remove the row")
        return text

    def _value(self, row: Row, what: str) -> object:
        return row.values.get(self._columns[what])

    def _read(self, row: Row, what: str, read: Callable[[Any], T], value: object) -> T:
        """Return what a function reads from a value, or raise the error that names the place of what it cannot read."""
        try:
            return read(value)
        except ValueError as error:
            mend = 'write texts there: red, or red | green, or ["red", "green"]'
            raise self._error(row, what, str(error), mend) from None

    def _error(self, row: Row, what: str, problem: str, mend: str) -> UsageError:
        column = self._columns.get(what, what)
        return UsageError(f"{self._table.name}, {row.place}: column '{column}' {problem}", mend)
