"""How a comparison shows itself at a prompt and in a notebook: what was compared, and its main tables."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from tokenbench.comparison.tables import main_tables
from tokenbench.comparison.wording import count_of, join_names
from tokenbench.errors import printable
from tokenbench.tables import escape_markdown, text_table, to_html, to_markdown

if TYPE_CHECKING:
    from tokenbench.comparison import Comparison

__all__ = ["show_html", "show_markdown", "show_text"]


def show_text(comparison: Comparison) -> str:
    """Return the comparison as plain text."""
    tables = (f"{printable(table.title)}\n{text_table(table)}" for table in main_tables(comparison))
    return "\n\n".join([printable(_describe(comparison)), *tables])


def show_html(comparison: Comparison) -> str:
    """Return the comparison as HTML, all text escaped."""
    return "\n".join([f"<p>{escape(_describe(comparison))}</p>", *map(to_html, main_tables(comparison))])


def show_markdown(comparison: Comparison) -> str:
    """Return the comparison as Markdown, all text escaped."""
    tables = ("\n".join(map(printable, to_markdown(table).split("\n"))) for table in main_tables(comparison))
    return "\n\n".join([escape_markdown(printable(_describe(comparison))), *tables])


def _describe(comparison: Comparison) -> str:
    cells = comparison.summary.drop_duplicates(["strategy", "budget"])
    return (
        f"Comparison of {count_of(len(cells), 'cell')} (vanilla and every other strategy at a budget) on {join_names(comparison.models)}: "
        f"{count_of(comparison.samples, 'sample')} of {count_of(len(comparison.tasks), 'task')} on "
        f"{count_of(comparison.clusters, 'image')}, margin {comparison.margin:g}"
    )
