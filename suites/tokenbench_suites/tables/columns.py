"""Which column of a table is what: by its name, or as the user says."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from typing import Any

from tokenbench.errors import UsageError, unknown

__all__ = ["NAMES", "find_columns", "read_list", "read_options"]

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


def read_list(value: Any) -> list[str]:
    """Return the texts in a value: a list, a JSON list, texts between bars, or one text."""
    if value is None:
        return []
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = None
        if isinstance(parsed, list) and not all(isinstance(item, int | float) for item in parsed):
            value = parsed
    if isinstance(value, list | tuple):
        return [_text(item) for item in value if item is not None and _text(item)]
    return [part for part in map(str.strip, _text(value).split("|")) if part]


def read_options(values: Mapping[str, Any], column: str | None) -> list[str]:
    """Return the options of a row: from their column, or from columns A, B, C, …; empty if it has none."""
    if column is not None:
        return read_list(values[column])
    letters = []
    for letter in string.ascii_uppercase:
        if values.get(letter) in (None, ""):
            break
        letters.append(_text(values[letter]))
    return letters if len(letters) > 1 else []


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()
