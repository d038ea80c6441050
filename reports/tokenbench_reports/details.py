"""Everything that is known about a run, on the terminal: `--details`."""

from pathlib import Path
from typing import ClassVar, TextIO

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table as RichTable
from rich.text import Text

from tokenbench.comparison import Comparison
from tokenbench.contract.report import Report
from tokenbench.errors import printable
from tokenbench.store.run import Run
from tokenbench.tables import Room, Table, style_of, to_rich
from tokenbench_reports.console import READABLE, open_console
from tokenbench_reports.document import Document, Section, make_document


class DetailsReport(Report):
    """Headline, verdicts, all tables and notes; writes no file."""

    name: ClassVar[str] = "details"
    description: ClassVar[str] = "headline, all verdicts, tables and notes on the terminal"

    def write(self, comparison: Comparison, run: Run, folder: Path, out: TextIO) -> list[Path]:
        """Print the report to ``out``."""
        content = make_document(comparison, run.about())
        # A file or a pipe has no width, and a table that wraps in a log cannot be read.
        widths = (_width(table) for part in content.sections for table in part.tables)
        console = open_console(out, max(READABLE, *widths))
        for block in _blocks(content, console.width):
            console.print(block)
        return []


def _blocks(content: Document, width: int) -> list[RenderableType]:
    prose = min(width, READABLE)
    blocks: list[RenderableType] = [Text()]
    if content.label:
        blocks.append(Panel(Text(content.label, "bold yellow", justify="center"), border_style="yellow", width=prose))
    blocks += [_bullet(text, "!", "yellow", prose) for text in content.warnings]
    for section in content.sections:
        blocks += _section(section, width, prose)
    blocks.append(Text("\nNotes", "bold"))
    blocks += [_bullet(text, "·", "dim", prose) for text in content.notes]
    return blocks


def _section(section: Section, width: int, prose: int) -> list[RenderableType]:
    found = section.headline
    blocks: list[RenderableType] = [Text(f"\n{section.model}", "bold")]
    if found.label:
        blocks.append(Text(found.label, "bold yellow"))
    blocks += [
        _paragraph(text, prose) for text in (found.text + ".", found.support_text, found.pairs, found.scope) if text
    ]
    blocks += [_bullet(text, "!", "yellow", prose) for text in found.warnings]
    blocks += [_bullet(text, "›", "", prose) for text in section.verdict]
    for table in (table.fit(Room.TERMINAL) for table in section.tables):
        blocks.append(Text(f"\n{table.title}", "bold"))
        blocks.append(_lay_out(table) if _width(table) <= width else _stack(table, width))
        if table.note:
            blocks.append(_paragraph(table.note, prose))
    return blocks


def _paragraph(text: str, width: int) -> RenderableType:
    grid = RichTable.grid()
    grid.add_column(width=width)
    grid.add_row(Text(f"{text}\n"))
    return grid


def _bullet(text: str, sign: str, style: str, width: int) -> RenderableType:
    grid = RichTable.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(width=max(20, width - 3))
    grid.add_row(Text(sign, style), Text(text, style))
    return grid


def _lay_out(table: Table) -> RichTable:
    return to_rich(table, box.SIMPLE_HEAD)


def _stack(table: Table, width: int) -> RenderableType:
    """A block per row, for terminals narrower than the table: nothing is cut or folded into a column."""
    lines: list[Text] = []
    for at, row in enumerate(table.rows):
        if at and row.group != table.rows[at - 1].group:
            lines.append(Text())
        items = [
            (column.header, Text(entry.full, style_of(row, entry, column)))
            for column, entry in zip(table.columns, row.entries, strict=True)
        ]
        lines.append(Text("  ").join(text for _, text in items[: table.keys]))
        line = Text()
        for header, text in items[table.keys :]:
            item = Text.assemble("  ", (f"{header} ", "dim"), text)
            if line and line.cell_len + item.cell_len > width:
                lines.append(line)
                line = Text()
            line += item if text else ""
        lines.append(line)
    return Group(*lines)


def _width(table: Table) -> int:
    """Columns of the terminal that the table as `_lay_out` lays it out takes: rich's own measure takes longer than all else."""
    shown = table.fit(Room.TERMINAL)
    columns, rows = shown.columns, shown.rows
    texts = ([column.header, *(row.entries[at].full for row in rows)] for at, column in enumerate(columns))
    between = 3 * len(columns) - 1  # a sign and its padding on either side of it; none of that at the edges
    return sum(max(cell_len(printable(text)) for text in own) for own in texts) + between
