"""The report as Markdown."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, TextIO

from tokenbench.comparison import Comparison
from tokenbench.contract.report import Report
from tokenbench.store.report_files import write_text
from tokenbench.store.run import Run
from tokenbench.tables import Room, escape_markdown, to_markdown
from tokenbench_reports.document import Document, make_document
from tokenbench_reports.headline import Headline


class MarkdownReport(Report):
    """``summary.md``, for a pull request or a wiki."""

    name: ClassVar[str] = "markdown"
    description: ClassVar[str] = "summary.md: headline, verdicts, tables and notes"

    def write(self, comparison: Comparison, run: Run, folder: Path, out: TextIO) -> list[Path]:
        """Write ``summary.md``."""
        return [write_text(folder / "summary.md", "\n".join(_lines(make_document(comparison, run.about()))) + "\n")]


def _lines(content: Document) -> Iterator[str]:
    yield f"# {escape_markdown(content.title)}"
    if content.label:
        yield from ("", f"> **{escape_markdown(content.label)}**")
    if content.warnings:
        yield ""
        yield from (f"- ⚠ {escape_markdown(text)}" for text in content.warnings)
    for section in content.sections:
        yield from ("", f"## {escape_markdown(section.model)}", "", *_headline(section.headline), "")
        yield from (f"- {escape_markdown(text)}" for text in section.verdict)
        for table in section.tables:
            yield from ("", f"### {escape_markdown(table.title)}", "", to_markdown(table.fit(Room.TERMINAL)))
            if table.note:
                yield from ("", escape_markdown(table.note))
    yield from ("", "## Notes", "")
    yield from (f"- {escape_markdown(text)}" for text in content.notes)


def _headline(found: Headline) -> Iterator[str]:
    """The headline with its label and warnings, and a paragraph each of support, pairs and scope."""
    if found.label:
        yield from (f"> **{escape_markdown(found.label)}**", "")
    yield f"**{escape_markdown(found.text)}.**"
    for text in (found.support_text, found.pairs, found.scope):
        if text:
            yield from ("", escape_markdown(text))
    for text in found.warnings:
        yield from ("", f"⚠ {escape_markdown(text)}")
