"""Which column of a table is what: by its name, or as the user says."""

from __future__ import annotations

import ast
import json
import re
import string
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from tokenbench.errors import UsageError, unknown

__all__ = ["NAMES", "find_columns", "read_list", "read_options", "read_text"]

NAMES = {
    "image": (
        "image",
        "images",
        "img",
        "picture",
        "photo",
        "video",
        "clip",
        "file_name",
        "filename",
        "file",
        "path",
        "image_path",
    ),
    "question": ("question", "prompt", "query", "instruction", "text"),
    "answer": ("answer", "answers", "target", "label", "solution", "ground_truth", "gt"),
    "options": ("options", "choices", "candidates"),
    "cluster": ("cluster",),
}
"""What a table has, with the names of columns that are understood."""
NEEDED = ("image", "question", "answer")
_KINDS: dict[type, str] = {list: "list", dict: "mapping", bytes: "file"}


def find_columns(table: str, columns: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the column of everything that a table has.

    Args:
        table: The name of the file, for errors.
        columns: The columns of the table.
        given: The columns that the user named.

    Raises:
        UsageError: A column is missing, or several could be meant.
    """
    found = {}
    for what, names in NAMES.items():
        if what in given:
            if given[what] not in columns:
                raise unknown(f"column of {table}", given[what], columns)
            found[what] = given[what]
            continue
        there = [column for column in columns if column.strip().lower() in names]
        exact = [column for column in there if column.strip().lower() == what]
        if len(exact or there) > 1:
            raise UsageError(
                f"{table} has several columns that could be the {what}: {', '.join(exact or there)}",
                f"say which one: {table}:{what}={there[0]}",
            )
        if exact or there:
            found[what] = (exact or there)[0]
        elif what in NEEDED:
            raise UsageError(
                f"{table} has no column for the {what}; its columns are {', '.join(columns)}",
                f"name a column '{what}', or say which one it is: {table}:{what}=COLUMN",
            )
    return found


def read_text(value: Any) -> str:
    """Return a value as text; an empty one where there is none, or not a number.

    Raises:
        ValueError: It is a list, a mapping or bytes, or no text that can be written to a file.
    """
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int | float):
        raise ValueError(f"holds a {_KINDS.get(type(value), type(value).__name__)}, not a text")
    text = str(value).strip()
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a character (a lone surrogate)") from None
    return "" if text.lower() == "nan" else text


def read_list(value: Any) -> list[str]:
    """Return the texts in a value: a list, a list written as JSON or as Python does, texts between bars, or one text.

    Raises:
        ValueError: There is something else among them.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        parsed = _parse_list(value.strip())
        value = parsed if parsed is not None else value
    if isinstance(value, list | tuple):
        return [text for text in map(read_text, value) if text]
    return [part for part in map(str.strip, read_text(value).split("|")) if part]


def read_options(values: Mapping[str, Any], column: str | None) -> list[str]:
    """Return the options of a row: from their column, or from columns A, B, C, …; empty if it has none.

    Raises:
        ValueError: One of them is no text, or two are the same.
    """
    options = _read_letters(values) if column is None else read_list(values.get(column))
    if len(options) > len(string.ascii_uppercase):
        raise ValueError(f"has {len(options)} options, more than there are letters")
    if twice := [option for option in options if options.count(option) > 1]:
        raise ValueError(f"has the option '{twice[0]}' twice")
    return options


def _read_letters(values: Mapping[str, Any]) -> list[str]:
    """The options in columns A, B, C, …, the last of which may be empty; none if there are no two."""
    letters = list(takewhile(values.__contains__, string.ascii_uppercase))
    options = [read_text(values[letter]) for letter in letters]
    while options and not options[-1]:
        options.pop()
    if "" in options:
        raise ValueError(f"has no text in {letters[options.index('')]}, but has one after it")
    return options if len(options) > 1 else []


def _parse_list(text: str) -> list[Any] | None:
    """Parse a list of texts, as JSON or as Python writes it; None if it is a text, or a box.

    Raises:
        ValueError: It looks like a list of quoted texts, but is none, such as NumPy's without commas.
    """
    parsed = None
    for parse in (json.loads, ast.literal_eval):
        try:
            parsed = parse(text)
            break
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    joined = isinstance(parsed, list) and re.search(r"""['"]\s+['"]""", text) is not None and "," not in text
    if joined or (parsed is None and text[1:].lstrip()[:1] in ("'", '"')):
        raise ValueError(f"looks like a list, but is none: {text:.60}")
    if isinstance(parsed, list) and not all(isinstance(item, int | float) for item in parsed):
        return parsed
    return None
