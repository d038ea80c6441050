"""The report as Markdown."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, TextIO

from tokenbench.comparison import Comparison
from tokenbench.contract.report import Report
from tokenbench.store.report_files import write_text
from tokenbench.store.run import Run
from tokenbench_reports.document import Document, document
from tokenbench_reports.table import Table


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
    last = len(table.headers) - 1
    yield _row(table.headers)
    yield _row([":---" if at < table.keys or at == last else "---:" for at in range(last + 1)], escape=False)
    for at, row in enumerate(table.rows):
        if row:  # groups need no gap here: the budget stands in every row
            strong = at in table.strong
            yield _row(
                [
                    f"**{_escaped(cell)}**" if strong and column == 0 else _escaped(cell)
                    for column, cell in enumerate(row)
                ],
                escape=False,
            )


def _row(cells: list[str], *, escape: bool = True) -> str:
    return "| " + " | ".join(_escaped(cell) if escape else cell for cell in cells) + " |"


def _escaped(text: str) -> str:
    for sign in ("\\", "|", "*", "_", "<", "`", "&", "~"):
        text = text.replace(sign, f"\\{sign}")
    return text.replace("](", "]\\(").replace(
        "]:", "]\\:"
    )  # brackets are intervals, unless they make a link or an image
