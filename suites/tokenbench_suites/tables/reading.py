"""Reads a table: rows with the names of their columns, and the number by which a person finds each row."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tokenbench.errors import UsageError, brief
from tokenbench_suites.images import check_regular

__all__ = ["ENDINGS", "Row", "read_table"]

ENDINGS = ("csv", "tsv", "jsonl", "parquet")


class Row(NamedTuple):
    """A row of a table."""

    place: str
    """Where a person finds it, such as `line 3`."""
    values: dict[str, Any]
    """What it holds, by column."""


def read_table(path: Path) -> list[Row]:
    """Return the rows of a table.

    Args:
        path: A file whose ending says how it is written.

    Raises:
        UsageError: It cannot be read, or has no rows.
        MachineError: It is not there.
    """
    check_regular(path)
    read = {".csv": _read_csv, ".tsv": _read_csv, ".jsonl": _read_lines, ".parquet": _read_parquet}[path.suffix.lower()]
    try:
        rows = list(read(path))
    except UsageError:
        raise
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not UTF-8 text: {error.reason} at byte {error.start}", "save it as UTF-8"
        ) from None
    except Exception as error:  # a parser may raise anything for a damaged file
        raise UsageError(f"{path} cannot be read as a table: {brief(error)}", "write it again") from error
    if not rows:
        raise UsageError(f"{path} has no rows", "write one row for each question, below the names of the columns")
    return rows


def _read_csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
        names = [name.strip() for name in next(reader, [])]
        if twice := [name for name in names if names.count(name) > 1]:
            raise UsageError(f"{path} has two columns named '{twice[0]}'", "rename one of them")
        for values in reader:
            if len(values) > len(names):
                raise UsageError(
                    f"{path}, line {reader.line_num}: {len(values)} values, but {len(names)} columns",
                    'put values with commas into quotes ("red, green")',
                )
            if any(value.strip() for value in values):
                yield Row(f"line {reader.line_num}", dict(zip(names, values, strict=False)))


def _read_lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield Row(f"line {number}", _parse_line(path, number, line))


def _parse_line(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{path}, line {number} is not JSON: {error}", "write one object on each line") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path}, line {number} is not a JSON object", 'write, for example, {"image": "a.jpg", ...}')
    return values


def _read_parquet(path: Path) -> Iterator[Row]:
    from pyarrow import parquet

    for number, values in enumerate(parquet.read_table(path).to_pylist()):
        yield Row(f"row {number}", values)
