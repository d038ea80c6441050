"""How the page draws the entries of a table: the classes of its style sheet, keys to sort by, intervals."""

from collections import Counter
from dataclasses import dataclass, replace
from math import isnan

from tokenbench.tables import Column, Entry, Table

TINTS = 10
MOST_ROWS = 1000
"""The most rows of a table that the page holds: a browser opens ten such tables without a pause."""


@dataclass(frozen=True)
class Bar:
    """An interval drawn in an entry, in per cent of the entry's width."""

    low: float
    """The lower limit."""
    value: float
    """The value."""
    high: float
    """The upper limit."""
    hundred: float
    """The place of 100 %, vanilla's own value."""


def classes(entry: Entry, column: Column[object]) -> str:
    """The classes of an entry: its alignment, and its tone or tint."""
    tone: str = entry.tone
    if column.look == "tint" and entry.value is not None and not isnan(entry.value):
        tone = f"t{min(TINTS - 1, max(0, int(TINTS * entry.value)))}"
    return " ".join(filter(None, ("left" if column.align == "left" else "", tone)))


def sort_key(entry: Entry) -> str | None:
    """The number that the page sorts an entry by, as its script reads it; what has none is the smallest."""
    if entry.value is None:
        return None
    return str(float("-inf") if isnan(entry.value) else entry.value).replace("inf", "Infinity")


def bar(table: Table, at: int, entry: Entry) -> Bar | None:
    """The interval of an entry on the scale of its column, which holds 0.9 to 1 at least; None where none is drawn."""
    if table.columns[at].look != "bar" or entry.limits is None or entry.value is None:
        return None
    known = [limits for row in table.rows if (limits := row.entries[at].limits)]
    low, high = min(0.9, *(limits[0] for limits in known)), max(1.0, *(limits[1] for limits in known))
    places = (entry.limits[0], entry.value, entry.limits[1], 1.0)
    return Bar(*(100 * (place - low) / (high - low) for place in places))


def choices(table: Table, at: int) -> list[str]:
    """The texts of a column, once each, in the order they appear."""
    return list(dict.fromkeys(row.entries[at].text for row in table.rows))


def few_rows(table: Table, most: int = MOST_ROWS) -> Table:
    """The table with the first rows of every group, as many of each, so that there are no more than ``most`` rows."""
    if len(table.rows) <= most:
        return table
    each = max(1, most // len({row.group for row in table.rows}))
    seen: Counter[str] = Counter()
    rows = []
    for row in table.rows:
        seen[row.group] += 1
        if seen[row.group] <= each:
            rows.append(row)
    return replace(table, rows=tuple(rows[:most]))
