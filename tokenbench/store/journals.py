"""RUN/journal/<cell id>.<host>.<pid>.jsonl: records as soon as they exist, whoever makes them; every byte is read once."""

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
"""A sample's key, and the digest of what it says: an answer to a question that has changed since is none."""
Record = dict[str, Any]
# A whole line as `append` writes it, without quotes or escapes in the names: all else is parsed to tell what it is.
WHOLE = re.compile(
    rb'\{"sample": "([^"\\]*)", .*?"asked": "([^"\\]*)", "score": .*, "seconds": [-+.0-9eEInfinityNa]+\}'
)


class Journals:
    """The journals of a run directory, and what this process knows of them."""

    def __init__(self, folder: Path, root: Path, writer: str) -> None:
        self._folder, self._root, self._writer = folder, root, writer
        self._listed: dict[str, list[Path]] | None = None
        self._ends: dict[Path, int] = {}  # how far a file has been read
        self._known: dict[str, dict[Question, None]] = {}
        self._same: dict[Question, Question] = {}  # every question once, however many cells answer it

    def append(self, records: Iterable[tuple[str, Record]]) -> None:
        """Add (cell, record) pairs; the lines of one cell in one write."""
        lines: dict[str, list[str]] = {}
        for cell, record in records:
            lines.setdefault(cell, []).append(json.dumps(record))
        for cell, cell_lines in lines.items():
            files.append_lines(self._folder / f"{cell}.{self._writer}.jsonl", self._root, cell_lines)

    def records(self, cell: str) -> dict[Question, Record]:
        """The records of a cell; the first one counts."""
        found: dict[Question, Record] = {}
        for path in self.files(cell):
            for record in filter(None, map(_parsed, self._read(path).split(b"\n"))):
                found.setdefault(_question(record), record)
        return found

    def questions(self, cell: str) -> Set[Question]:
        """Those that a cell has records of. What was read before is not read again."""
        known = self._known.setdefault(cell, {})
        for path in self.files(cell):
            for record in filter(None, map(_parsed, self._news(path))):
                question = _question(record)
                known[self._same.setdefault(question, question)] = None
        return known.keys()

    def count(self, cell: str) -> int:
        """How many of them there are, without a look into the records that are written as they should be."""
        found: set[Question] = set()
        for path in self.files(cell):
            for line in self._read(path).split(b"\n"):
                if whole := WHOLE.fullmatch(line):
                    found.add((whole[1].decode(errors="replace"), whole[2].decode(errors="replace")))
                elif record := _parsed(line):
                    found.add(_question(record))
        return len(found)

    def forget(self, cell: str) -> None:
        """Remove the journals of a cell."""
        for path in self.files(cell):
            files.remove(path, self._root)
            self._ends.pop(path, None)
        self._known.pop(cell, None)

    @contextmanager
    def fixed(self) -> Iterator[None]:
        """Look for files once, for whoever goes through all cells of a run."""
        self._listed = self._list()
        try:
            yield
        finally:
            self._listed = None

    def files(self, cell: str) -> list[Path]:
        """The journals of a cell."""
        return (self._list() if self._listed is None else self._listed).get(cell, [])

    def _list(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for name in files.names(self._folder, self._root):
            if name.endswith(".jsonl"):
                found.setdefault(name.partition(".")[0], []).append(self._folder / name)
        return found

    def _news(self, path: Path) -> Iterator[bytes]:
        """The whole lines that came since the last look."""
        try:
            start, content = files.read_since(path, self._root, self._ends.get(path, 0))
        except FileNotFoundError:  # as in _read
            start, content = 0, b""
        end = content.rfind(b"\n") + 1  # another process may be writing the rest
        self._ends[path] = start + end
        yield from content[:end].split(b"\n")

    def _read(self, path: Path) -> bytes:
        """What a journal holds; nothing if its cell was published meanwhile, and its journals removed."""
        try:
            return files.read(path, self._root, files.MOST_LINES)
        except FileNotFoundError:
            return b""


def _parsed(line: bytes) -> Record | None:
    """The record of a line; None if it was torn by a crash, or is junk: its sample is done again."""
    try:
        record = json.loads(line) if line else None
        return record if isinstance(record, dict) and all(isinstance(part, str) for part in _question(record)) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _question(record: Mapping[str, Any]) -> Question:
    return record["sample"], record.get("asked", "")
