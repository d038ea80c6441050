"""The report as Markdown."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, TextIO

from tokenbench.comparison import Comparison
from tokenbench.contract.report import Report
from tokenbench.store.report_files import write_text
from tokenbench.store.run import Run
from tokenbench.tables import Room, Table
from tokenbench_reports.document import Document, document


class MarkdownReport(Report):
    """``summary.md``, for a pull request or a wiki."""

    name: ClassVar[str] = "markdown"
    description: ClassVar[str] = "summary.md: verdict, tables and notes"

    def write(self, comparison: Comparison, run: Run, folder: Path, out: TextIO) -> list[Path]:
        """Write ``summary.md``."""
        return [write_text(folder / "summary.md", "\n".join(_lines(document(comparison, run.about()))) + "\n")]


def _lines(content: Document) -> Iterator[str]:
    yield f"# {_escaped(content.title)}"
    if content.label:
        yield from ("", f"> **{_escaped(content.label)}**")
    if content.warnings:
        yield ""
        yield from (f"- ⚠ {_escaped(text)}" for text in content.warnings)
    for section in content.sections:
        yield from ("", f"## {_escaped(section.model)}", "", _escaped(section.lead), "")
        yield from (f"- {_escaped(text)}" for text in section.verdict)
        for table in section.tables:
            yield from ("", f"### {_escaped(table.title)}", "", *_table(table))
            if table.note:
                yield from ("", _escaped(table.note))
    yield from ("", "## Notes", "")
    yield from (f"- {_escaped(text)}" for text in content.notes)


def _table(table: Table) -> Iterator[str]:
    table = table.fit(Room.TERMINAL)
    yield _row([_escaped(column.header) for column in table.columns])
    yield _row([{"left": ":---", "right": "---:"}[column.align] for column in table.columns])
    for row in table.rows:  # groups need no gap here: the budget stands in every row
        first, *rest = (_escaped(entry.full) for entry in row.entries)
        yield _row([f"**{first}**" if row.strong else first, *rest])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    for sign in ("\\", "|", "*", "_", "<", "`", "&", "~"):
        text = text.replace(sign, f"\\{sign}")
    return text.replace("](", "]\\(").replace(
        "]:", "]\\:"
    )  # brackets are intervals, unless they make a link or an image
