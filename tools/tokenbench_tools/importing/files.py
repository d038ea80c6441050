"""How logs of other tools are read: within limits, as text, and never as code. A file that ends in .pkl is not opened."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenbench.errors import MachineError, UsageError, brief
from tokenbench.registry.installation import install

__all__ = ["below", "digest", "read_json", "read_lines", "read_table"]

MOST_BYTES = 2**31
"""Larger files are refused."""


def below(folder: Path, pattern: str) -> list[Path]:
    """Return the files below a folder whose names match a pattern. A link and what it leads to count once."""
    found = {path.resolve(): path for path in sorted(folder.rglob(pattern)) if path.is_file()}
    return sorted(found.values())


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(_read(path)).hexdigest()


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        UsageError: It is not JSON.
        MachineError: It cannot be read.
    """
    try:
        return json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {brief(error)}") from None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file with a JSON object in every line.

    Raises:
        UsageError: A line is none, such as the last line of a file that was not written to its end.
        MachineError: It cannot be read.
    """
    records = []
    for number, line in enumerate(_read(path).splitlines(), 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise UsageError(
                f"line {number} of {path} is incomplete or not a record",
                "the run that wrote it did not end: run it again",
            )
        records.append(record)
    return records


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a .csv, .tsv or .xlsx file, every value as the text that stands there; a gap is the empty text.

    Raises:
        UsageError: It is not such a table.
        MachineError: It cannot be read, or openpyxl is missing.
    """
    if path.suffix == ".xlsx":
        lines = list(_sheet(path))
    else:
        text = _read(path).decode("utf-8-sig", "replace")
        csv.field_size_limit(2**24)
        try:
            lines = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t" if path.suffix == ".tsv" else ","))
        except csv.Error as error:
            raise UsageError(f"{path} is not a table: {error}") from None
    if not lines or len(set(lines[0])) < len(lines[0]):
        raise UsageError(f"{path} is not a table: {'a column occurs twice' if lines else 'it is empty'}")
    header, *rows = lines
    return [dict(zip(header, [*row, *[""] * (len(header) - len(row))], strict=False)) for row in rows if any(row)]


def _sheet(path: Path) -> Iterator[list[str]]:
    """Yield the rows of the first sheet."""
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise MachineError(f"{path.name} is read with openpyxl, which is not installed", install("xlsx")) from None
    try:
        book = load_workbook(io.BytesIO(_read(path)), read_only=True, data_only=True)
        for row in book.worksheets[0].iter_rows(values_only=True):
            yield ["" if value is None else str(value) for value in row]
    except MachineError:
        raise
    except Exception as error:  # its parsers raise anything for a damaged file
        raise UsageError(f"{path} is not an Excel table: {brief(error)}") from None


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path} is larger than {MOST_BYTES >> 30} GiB", "import its tasks one by one")
        return path.read_bytes()
    except OSError as error:
        raise MachineError(f"{path} cannot be read: {error.strerror or error}") from None


def text_of(value: Any) -> str:
    """Return a value as text: the first of a list, as often as it takes."""
    while isinstance(value, list):
        value = value[0] if value else ""
    return "" if value is None else str(value)


def settings_of(value: Any) -> dict[str, str]:
    """Return arguments of a model by name, from `a=1,b=2` or from a mapping."""
    if isinstance(value, Mapping):
        return {str(name): str(part) for name, part in value.items()}
    parts = (part.partition("=") for part in str(value or "").split(","))
    return {name: part for name, sign, part in parts if sign}
