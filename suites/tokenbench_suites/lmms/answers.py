"""Answers to try on a row: right ones, as far as the row says them, wrong ones and unreadable ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenbench_suites.lmms.library import Library

__all__ = ["UNREADABLE", "possible_answers"]

UNREADABLE = ("", "it")
USUAL = ("A", "B", "C", "D", "E", "Yes", "No", *UNREADABLE)
TELLING = ("answer", "target", "label", "solution", "correct", "caption", "gt", "ground_truth", "reference", "bbox")
MOST = 12
"""How many answers are taken from a row."""
LONGEST = 2000


def possible_answers(library: Library, i: int) -> list[str]:
    """Return answers to row i, each once: those that the row calls right, then the usual ones."""
    row = library.rows.plain[i]
    own = [text for value in (_target(library, row), *_told(row)) for text in _texts(value)]
    return list(dict.fromkeys([*list(dict.fromkeys(own))[:MOST], *USUAL]))


def _target(library: Library, row: Mapping[str, Any]) -> Any:
    try:
        return library.task.doc_to_target(row)
    except Exception:  # the task's own code may raise anything; the columns are looked at in any case
        return None


def _told(row: Mapping[str, Any]) -> Iterator[Any]:
    """The values of the columns that may hold the answer."""
    for name, value in row.items():
        if any(word in name.lower() for word in TELLING):
            yield value


def _texts(value: Any) -> Iterator[str]:
    """A value as the answers that it may stand for."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        if value and all(isinstance(item, int | float) for item in value):
            yield json.dumps(list(value))
        for item in value:
            yield from _texts(item)
    elif value is not None and len(str(value)) <= LONGEST:
        yield str(value)
