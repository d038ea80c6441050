"""Where strategies lose: answers that change, and changes of the score on parts of the questions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenbench.comparison import Comparison
from tokenbench.comparison.where_table import where_table
from tokenbench_reports.html.cells import Cell, at_budget
from tokenbench_reports.html.marks import Mark, look_of


@dataclass(frozen=True)
class WhereView:
    """One budget."""

    budget: str
    """The budget."""
    columns: list[str]
    """The headers behind that of the strategies."""
    rows: list[tuple[str, str, list[tuple[str, str]]]]
    """(strategy, look, (value, interval) of every column), in the order of accuracy; an interval may be empty."""
    note: str
    """What the columns mean."""


def where_views(
    comparison: Comparison, model: str, budgets: Sequence[str], cells: Sequence[Cell], marks: Mapping[str, Mark]
) -> list[WhereView]:
    """Arrange the strategies that the page shows, budget by budget; nothing where nothing is known."""
    table = where_table(comparison, model)
    entries = {(row.entries[0].text, row.entries[1].text): row.entries[table.keys :] for row in table.rows}
    headers = [column.header.replace(" %", "\u00a0%") for column in table.columns[table.keys :]]
    found = []
    for budget in budgets:
        rows = [
            (
                cell.strategy,
                look_of(marks, cell.strategy),
                [_split(entry.text) for entry in entries[cell.strategy, cell.budget]],
            )
            for cell in at_budget(cells, budget)
            if (cell.strategy, cell.budget) in entries
        ]
        if rows:
            found.append(WhereView(budget, headers, rows, table.note))
    return found


def _split(text: str) -> tuple[str, str]:
    """A value and its interval, which stands below it."""
    value, bracket, rest = text.partition(" [")
    return value, f"[{rest}" if bracket else ""
