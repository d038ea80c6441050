"""Reads a table: rows with the names of their columns, and the number by which a person finds each row."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tokenbench.errors import UsageError, brief
from tokenbench_suites.images import check_regular

__all__ = ["ENDINGS", "Row", "Source", "TableFile"]

ENDINGS = ("csv", "tsv", "jsonl", "parquet")
COMMAS = 'put values with commas into quotes ("red, green")'


class Row(NamedTuple):
    """A row of a table."""

    place: str
    """Where a person finds it, such as `line 3`."""
    values: dict[str, Any]
    """What it holds, by column."""


class Source(Protocol):
    """Where the rows of a table come from."""

    @property
    def name(self) -> str:
        """What errors call it, as the user wrote it."""

    @property
    def folder(self) -> Path:
        """What names of pictures are relative to."""

    @property
    def identity(self) -> str:
        """Which version it is, where the rows themselves do not say all."""

    def rows(self) -> list[Row]:
        """Return the rows.

        Raises:
            UsageError: They are not as they should be, or there are none.
            MachineError: They are not there.
        """


class TableFile:
    """A table in a file.

    Args:
        path: A file whose ending says how it is written.
    """

    identity = ""

    def __init__(self, path: Path) -> None:
        self.name, self.folder, self.path = str(path), path.parent, path

    def rows(self) -> list[Row]:
        """Return the rows.

        Raises:
            UsageError: It cannot be read, or has no rows.
            MachineError: It is not there.
        """
        path = check_regular(self.path)
        read = {".csv": _read_csv, ".tsv": _read_csv, ".jsonl": _read_lines, ".parquet": _read_parquet}
        try:
            rows = list(read[path.suffix.lower()](path))
        except UsageError:
            raise
        except Exception as error:  # a parser may raise anything for a damaged file
            raise UsageError(f"{path} cannot be read as a table: {brief(error)}", "save the table again") from error
        if not rows:
            raise UsageError(f"{path} has no rows", "write one row for each question, below the names of the columns")
        return rows


def _read_text(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{path}, line {line} is not UTF-8 text ({error.reason})",
            "save the table as UTF-8; in Excel this is the type 'CSV UTF-8'",
        ) from None


def _read_csv(path: Path) -> Iterator[Row]:
    text = _read_text(path)
    lines = _lines(path, csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(path, text), strict=True))
    names = [name.strip() for name in next(lines, (1, []))[1]]
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise UsageError(f"{path} has two columns named '{twice[0]}'", "rename one of them")
    for line, values in lines:
        if any(value.strip() for value in values):
            yield Row(f"line {line}", _name_values(path, line, names, values))


def _lines(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """The rows with the lines in which they begin: a value in quotes may hold several lines."""
    while True:
        begin = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            mend = 'close every quotation mark, and write one inside of a value twice ("")'
            raise UsageError(f"{path}, line {begin} cannot be read: {error}", mend) from None
        yield begin, values


def _delimiter(path: Path, text: str) -> str:
    """A tab in .tsv; else what separates the names of the columns, which is a semicolon in half of Europe's Excels."""
    first = text.partition("\n")[0]
    if path.suffix.lower() == ".tsv":
        return "\t"
    return next((sign for sign in ",;\t" if sign in first), ",")


def _name_values(path: Path, line: int, names: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    if len(values) > len(names) and any(value.strip() for value in values[len(names) :]):
        raise UsageError(f"{path}, line {line}: {len(values)} values, but {len(names)} columns", COMMAS)
    if stray := [value for name, value in zip(names, values, strict=False) if not name and value.strip()]:
        raise UsageError(f"{path}, line {line}: '{stray[0]:.40}' stands in a column without a name", COMMAS)
    return {name: value for name, value in zip(names, values, strict=False) if name}


def _read_lines(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if line.strip():
            yield Row(f"line {number}", _parse_line(path, number, line))


def _parse_line(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}, line {number} is not JSON: {error}", "write one object on each line") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path}, line {number} is not a JSON object", 'write, for example, {"image": "a.jpg", ...}')
    return values


def _read_parquet(path: Path) -> Iterator[Row]:
    from pyarrow import parquet

    for number, values in enumerate(parquet.read_table(path).to_pylist()):
        yield Row(f"row {number}", values)
