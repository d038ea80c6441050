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

__all__ = ["below", "digest", "read_json", "read_lines", "read_numbered", "read_table"]

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
    """Return the rows of a table as `read_numbered` does, without their lines."""
    return [record for _, record in read_numbered(path)]


def read_numbered(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of a .csv, .tsv or .xlsx file with the lines in which they begin, every value as the text that stands there; a gap is the empty text.

    Raises:
        UsageError: It is not such a table.
        MachineError: It cannot be read, or openpyxl is missing.
    """
    lines = list(enumerate(_sheet(path), 1)) if path.suffix == ".xlsx" else list(_csv_rows(path))
    if not lines or len(set(lines[0][1])) < len(lines[0][1]):
        raise UsageError(f"{path} is not a table: {'a column occurs twice' if lines else 'it is empty'}")
    (_, header), *rows = lines
    return [
        (line, dict(zip(header, [*row, *[""] * (len(header) - len(row))], strict=False)))
        for line, row in rows
        if any(row)
    ]


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line in which each row begins, and its values."""
    text = _text(path)
    csv.field_size_limit(2**24)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(path, text), strict=True)
    columns = 0
    while True:
        line = rows.line_num + 1
        try:
            values = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise UsageError(
                f"{path}, line {line} cannot be read: {error}",
                'close every quotation mark, and write one inside of a value twice ("")',
            ) from None
        columns = columns or len(values)
        if any(values[columns:]):
            raise UsageError(
                f"{path}, line {line}: {len(values)} values, but {columns} columns",
                "put a value that contains the separator in quotation marks",
            )
        yield line, values


def _text(path: Path) -> str:
    """Return the text of a table, which must be UTF-8."""
    content, hint = _read(path), "save the table as UTF-8; in Excel this is the type 'CSV UTF-8'"
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}, line {line} is not UTF-8 text ({error.reason})", hint) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UsageError(f"{path}, line {line} holds a NUL character, which no text has", hint)
    return text


def _delimiter(path: Path, text: str) -> str:
    """Return a tab for .tsv, and else what separates the names of the columns, which is a semicolon in half of Europe's Excels."""
    first = text.partition("\n")[0]
    return "\t" if path.suffix == ".tsv" else next((sign for sign in ",;\t" if sign in first), ",")


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
    except FileNotFoundError:
        raise UsageError(f"the file {path} does not exist", "check the spelling") from None
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
