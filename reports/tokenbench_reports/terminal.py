"""The report on the terminal."""

from pathlib import Path
from typing import ClassVar, TextIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.panel import Panel
from rich.table import Table as RichTable
from rich.text import Text

from tokenbench.comparison import Comparison
from tokenbench.contract.report import Report
from tokenbench.store.run import Run
from tokenbench_reports.document import Document, Section, document
from tokenbench_reports.table import Table

READABLE = 100
"""Prose is not set wider than this, however wide the tables are."""
ENDLESS = 10_000


class TerminalReport(Report):
    """Verdict, tables and notes; writes no file."""

    name: ClassVar[str] = "terminal"
    description: ClassVar[str] = "verdict, tables and notes on the terminal"

    def write(self, comparison: Comparison, run: Run, folder: Path, out: TextIO) -> list[Path]:
        """Print the report to ``out``."""
        content = document(comparison, run.about())
        console = Console(file=out, highlight=False, markup=False, emoji=False)
        if not console.is_terminal:
            # A file or a pipe has no width, and a table that wraps in a log cannot be read.
            console.width = max(READABLE, *(_width(table) for part in content.sections for table in part.tables))
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
    blocks: list[RenderableType] = [Text(f"\n{section.model}", "bold"), _paragraph(section.lead, prose)]
    blocks += [_bullet(text, "›", "", prose) for text in section.verdict]
    for table in section.tables:
        blocks.append(Text(f"\n{table.title}", "bold"))
        blocks.append(_wide(table) if _width(table) <= width else _stacked(table, width))
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


def _wide(table: Table) -> RichTable:
    rich = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", padding=(0, 1))
    for at, header in enumerate(table.headers):
        text = at < table.keys or at == len(table.headers) - 1
        rich.add_column(header, justify="left" if text else "right", no_wrap=True)
    for at, row in enumerate(table.rows):
        cells = row or [""] * len(table.headers)
        rich.add_row(*_styled(table, at, cells))
    return rich


def _stacked(table: Table, width: int) -> RenderableType:
    """A block per row, for terminals narrower than the table: nothing is cut or folded into a column."""
    lines: list[Text] = []
    for at, row in enumerate(table.rows):
        if not row:
            lines.append(Text())
            continue
        cells = _styled(table, at, row)
        lines.append(Text("  ").join(cells[: table.keys]))
        line = Text()
        for header, cell in zip(table.headers[table.keys :], cells[table.keys :], strict=True):
            item = Text.assemble("  ", (f"{header} ", "dim"), cell)
            if line and line.cell_len + item.cell_len > width:
                lines.append(line)
                line = Text()
            line += item if cell else ""
        lines.append(line)
    return Group(*lines)


def _styled(table: Table, at: int, cells: list[str]) -> list[Text]:
    bold = "bold" if at in table.strong else ""
    return [Text(cell, _tone(cell) or (bold if column < table.keys else "")) for column, cell in enumerate(cells)]


def _tone(cell: str) -> str:
    """Verdicts have a colour; everything else is plain."""
    if cell.startswith(("better", "non-inferior", "equivalent")):
        return "green"
    if cell.startswith(("worse", "loses")):
        return "red"
    return "dim" if cell.startswith(("not d", "equal", "–")) else ""


def _width(table: Table) -> int:
    console = Console(width=ENDLESS)
    return Measurement.get(console, console.options, _wide(table)).maximum
