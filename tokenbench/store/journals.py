"""RUN/journal/<cell id>.<host>.<pid>.jsonl: the records of a cell as soon as they exist. Each process has its own files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenbench.store import files

__all__ = ["Journals", "Question"]

Question = tuple[str, str]
"""The key of a sample and the digest of its content. An answer does not count if the question has changed since."""
Record = dict[str, Any]
# A whole line as `append` writes it, if its names hold no quotes or escapes. Any other line is parsed as JSON.
WHOLE = re.compile(
    rb'\{"sample": "([^"\\]*)", .*?"asked": "([^"\\]*)", "score": .*, "seconds": [-+.0-9eEInfinityNa]+\}'
)


class Journals:
    """The journals of a run directory, and what this process has read of them.

    Args:
        folder: The folder of the journals.
        root: The run directory.
        writer: The name of this process.
    """

    def __init__(self, folder: Path, root: Path, writer: str) -> None:
        self._folder, self._root, self._writer = folder, root, writer
        self._listed: dict[str, list[Path]] | None = None
        self._ends: dict[Path, int] = {}  # how far a file has been read
        self._questions: dict[str, dict[Question, None]] = {}
        self._same: dict[Question, Question] = {}  # every question once, however many cells answer it

    def append(self, records: Iterable[tuple[str, Record]]) -> None:
        """Append (cell, record) pairs. The lines of one cell are written at once."""
        lines: dict[str, list[str]] = {}
        for cell, record in records:
            lines.setdefault(cell, []).append(json.dumps(record))
        for cell, cell_lines in lines.items():
            files.append_lines(self._folder / f"{cell}.{self._writer}.jsonl", self._root, cell_lines)

    def records(self, cell: str) -> dict[Question, Record]:
        """Return the records of a cell. If a question has several, the first one counts."""
        records: dict[Question, Record] = {}
        for path in self.files(cell):
            for record in filter(None, map(_parse, self._read(path).split(b"\n"))):
                records.setdefault(_question(record), record)
        return records

    def questions(self, cell: str) -> Set[Question]:
        """Return the questions for which a cell has records. Lines that were read before are not read again."""
        questions = self._questions.setdefault(cell, {})
        for path in self.files(cell):
            for record in filter(None, map(_parse, self._new_lines(path))):
                question = _question(record)
                questions[self._same.setdefault(question, question)] = None
        return questions.keys()

    def count(self, cell: str) -> int:
        """Return the number of questions for which a cell has records, without parsing lines that `append` has written whole."""
        questions: set[Question] = set()
        for path in self.files(cell):
            for line in self._read(path).split(b"\n"):
                if whole := WHOLE.fullmatch(line):
                    questions.add((whole[1].decode(errors="replace"), whole[2].decode(errors="replace")))
                elif record := _parse(line):
                    questions.add(_question(record))
        return len(questions)

    def forget(self, cell: str) -> None:
        """Remove the journals of a cell."""
        for path in self.files(cell):
            files.remove(path, self._root)
            self._ends.pop(path, None)
        self._questions.pop(cell, None)

    @contextmanager
    def list_once(self) -> Iterator[None]:
        """List the folder once, for a caller that goes through all cells of a run."""
        self._listed = self._list()
        try:
            yield
        finally:
            self._listed = None

    def files(self, cell: str) -> list[Path]:
        """Return the journals of a cell."""
        return (self._list() if self._listed is None else self._listed).get(cell, [])

    def _list(self) -> dict[str, list[Path]]:
        by_cell: dict[str, list[Path]] = {}
        for name in files.names(self._folder, self._root):
            if name.endswith(".jsonl"):
                by_cell.setdefault(name.partition(".")[0], []).append(self._folder / name)
        return by_cell

    def _new_lines(self, path: Path) -> Iterator[bytes]:
        """Yield the whole lines that were written since the last call."""
        try:
            start, content = files.read_since(path, self._root, self._ends.get(path, 0))
        except FileNotFoundError:  # as in _read
            start, content = 0, b""
        end = content.rfind(b"\n") + 1  # another process may be writing the rest
        self._ends[path] = start + end
        yield from content[:end].split(b"\n")

    def _read(self, path: Path) -> bytes:
        """Return the content of a journal; nothing if its cell was finished and its journals were removed meanwhile."""
        try:
            return files.read(path, self._root, files.MOST_LINES)
        except FileNotFoundError:
            return b""


def _parse(line: bytes) -> Record | None:
    """Return the record of a line; None if a crash has torn it, or it is junk. Its sample is then run again."""
    try:
        record = json.loads(line) if line else None
        return record if isinstance(record, dict) and all(isinstance(part, str) for part in _question(record)) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _question(record: Mapping[str, Any]) -> Question:
    return record["sample"], record.get("asked", "")
