"""Tables of typed entries.

Each column is defined once, and every output format renders the same table.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from html import escape
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from tokenbench.errors import printable

if TYPE_CHECKING:
    from rich.box import Box
    from rich.table import Table as RichTable

__all__ = [
    "NOTHING",
    "Column",
    "Entry",
    "Room",
    "Table",
    "TableRow",
    "Tone",
    "escape_markdown",
    "text_table",
    "to_html",
    "to_markdown",
    "to_rich",
]

NOTHING = "–"
"""What stands where there is no value."""
Tone = Literal["", "good", "bad", "neutral"]
STYLES: dict[Tone, str] = {"": "", "good": "green", "bad": "red", "neutral": "dim"}
ENDLESS = 10_000
Record = TypeVar("Record")


class Room(IntEnum):
    """Where a column is shown: wherever there is at least as much room."""

    PAPER = 1
    """A page of a paper, and everywhere else."""
    TERMINAL = 2
    """The text reports and the page."""
    PAGE = 3
    """The HTML page alone, which scrolls."""


@dataclass(frozen=True)
class Entry:
    """One entry of a table."""

    text: str = ""
    """What is shown."""
    value: float | None = None
    """The number it is sorted by: None sorts by the text, NaN comes last."""
    limits: tuple[float, float] | None = None
    """The interval around the value, where one is known."""
    short: str | None = None
    """The text for a page of a paper; ``text`` if None."""
    tone: Tone = ""
    """Whether it speaks for a method, against it, or says little."""
    symbol: str = ""
    """A glyph that says the tone without colour."""
    hint: str = ""
    """More about it: in parentheses behind the text, and on the page on hover."""

    @classmethod
    def number(cls, text: str, value: float, nothing: str = NOTHING, **more: Any) -> Entry:
        """An entry that sorts by its number; a dash, or what the caller says, where there is none."""
        return cls(nothing, value, tone="neutral") if isnan(value) else cls(text, float(value), **more)

    @property
    def full(self) -> str:
        """The text with the hint behind it."""
        return f"{self.text} ({self.hint})" if self.hint else self.text

    @property
    def brief(self) -> str:
        """The text for a page of a paper."""
        return self.text if self.short is None else self.short


@dataclass(frozen=True)
class Column(Generic[Record]):
    """One column: its header, and the entry it makes of a record."""

    header: str
    """What stands above the column."""
    entry: Callable[[Record], Entry | str]
    """Makes the entry of one record; a text is an entry as it is."""
    left: bool = False
    """Whether it holds text, which is aligned to the left."""
    key: bool = False
    """Whether it names a row; such columns come first, aligned to the left."""
    room: Room = Room.TERMINAL
    """Where the column is shown: wherever there is at least this much room."""
    short: str = ""
    """The header for a page of a paper."""
    optional: bool = False
    """Whether the column is left out where no row has a number in it."""

    @property
    def align(self) -> Literal["left", "right"]:
        """The alignment of its entries."""
        return "left" if self.left or self.key else "right"


@dataclass(frozen=True)
class TableRow:
    """One row of a table."""

    entries: tuple[Entry, ...]
    """One entry for each column."""
    group: str = ""
    """Rows of one group stand together, and text sets groups apart."""
    strong: bool = False
    """Whether its first entry is bold."""


@dataclass(frozen=True)
class Table:
    """A table with a title."""

    title: str
    """What the numbers are."""
    columns: tuple[Column[Any], ...]
    """The columns that are shown."""
    rows: tuple[TableRow, ...]
    """The rows, each with one entry for each column."""
    caption: str = ""
    """The title as the page says it, where the notes are far away; ``title`` if empty."""
    note: str = ""
    """What the numbers rest on."""

    @classmethod
    def of(
        cls,
        title: str,
        columns: Iterable[Column[Record]],
        records: Iterable[Record],
        *,
        group: Callable[[Record], str] = lambda record: "",
        strong: Callable[[Record], bool] = lambda record: False,
        caption: str = "",
        note: str = "",
    ) -> Table:
        """Make one row of each record; optional columns without any number are left out."""
        columns = tuple(columns)
        rows = tuple(
            TableRow(tuple(_as_entry(column.entry(record)) for column in columns), group(record), strong(record))
            for record in records
        )
        table = cls(title, columns, rows, caption, note)
        return table._select([at for at, column in enumerate(columns) if not column.optional or table._has_number(at)])

    def fit(self, room: Room) -> Table:
        """The table with the columns that there is room for."""
        return self._select([at for at, column in enumerate(self.columns) if column.room <= room])

    def _select(self, places: Sequence[int]) -> Table:
        return replace(
            self,
            columns=tuple(self.columns[at] for at in places),
            rows=tuple(replace(row, entries=tuple(row.entries[at] for at in places)) for row in self.rows),
        )

    def _has_number(self, at: int) -> bool:
        values = (row.entries[at].value for row in self.rows)
        return any(value is not None and isfinite(value) for value in values)

    @property
    def keys(self) -> int:
        """How many columns name a row."""
        return sum(column.key for column in self.columns)


def _as_entry(made: Entry | str) -> Entry:
    return made if isinstance(made, Entry) else Entry(made)


def to_rich(table: Table, box: Box | None = None) -> RichTable:
    """The table for a terminal, which no text in it can command."""
    from rich.table import Table as RichTable
    from rich.text import Text

    rich = RichTable(box=box, pad_edge=False, header_style="dim", padding=(0, 1))
    for column in table.columns:
        rich.add_column(Text(printable(column.header)), justify=column.align, no_wrap=True)
    for at, row in enumerate(table.rows):
        if at and row.group != table.rows[at - 1].group:
            rich.add_row()
        rich.add_row(
            *(
                Text(printable(entry.full), style_of(row, entry, column))
                for entry, column in zip(row.entries, table.columns, strict=True)
            )
        )
    return rich


def style_of(row: TableRow, entry: Entry, column: Column[Any]) -> str:
    """How a terminal shows an entry."""
    return STYLES[entry.tone] or ("bold" if row.strong and column.key else "")


def text_table(table: Table) -> str:
    """The table as lines of plain text, without its title."""
    from rich.console import Console

    file = io.StringIO()
    Console(file=file, width=ENDLESS, color_system=None, highlight=False).print(to_rich(table))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def to_markdown(table: Table) -> str:
    """The table as Markdown, without its title."""
    lines = [[escape_markdown(column.header) for column in table.columns]]
    lines.append([{"left": ":---", "right": "---:"}[column.align] for column in table.columns])
    for row in table.rows:  # groups need no gap here
        first, *rest = (escape_markdown(entry.full) for entry in row.entries)
        lines.append([f"**{first}**" if row.strong else first, *rest])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escape_markdown(text: str) -> str:
    """Escape the text so that Markdown shows it as it is.

    Brackets stand for intervals, and are escaped only where they would make a link or an image.
    """
    for sign in ("\\", "|", "*", "_", "<", "`", "&", "~"):
        text = text.replace(sign, f"\\{sign}")
    return text.replace("](", "]\\(").replace("]:", "]\\:")


def to_html(table: Table) -> str:
    """The table as HTML for a notebook: all text escaped, no script and no style sheet."""
    aligned = [f' style="text-align: {column.align}"' for column in table.columns]
    head = "".join(
        f"<th{style}>{escape(column.header)}</th>" for column, style in zip(table.columns, aligned, strict=True)
    )
    lines = [f"<table><caption>{escape(table.title)}</caption>", f"<thead><tr>{head}</tr></thead>", "<tbody>"]
    for row in table.rows:
        texts = [escape(f"{entry.symbol} {entry.full}".strip()) for entry in row.entries]
        if row.strong:
            texts[0] = f"<b>{texts[0]}</b>"
        lines.append(
            "<tr>" + "".join(f"<td{style}>{text}</td>" for text, style in zip(texts, aligned, strict=True)) + "</tr>"
        )
    return "\n".join([*lines, "</tbody></table>"])
