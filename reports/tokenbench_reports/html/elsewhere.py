"""Published numbers of the same strategies beside the measured ones, on one scale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenbench.comparison.panel import budget_size
from tokenbench.comparison.wording import interval, number
from tokenbench_reports.claims import BACKBONE, Elsewhere, published_elsewhere, short_name
from tokenbench_reports.html.cells import Cell, at_budget
from tokenbench_reports.html.marks import Mark
from tokenbench_reports.html.scale import Scale


@dataclass(frozen=True)
class PublishedRow:
    """One strategy."""

    strategy: str
    """The strategy."""
    look: str
    """The end of its classes."""
    here: str
    """What was measured."""
    there: str
    """What papers print, each with its source."""
    places: tuple[float, float, float]
    """Lower limit, value and upper limit of what was measured, in per cent of the picture's width."""
    papers: list[float]
    """Places of what papers print."""


@dataclass(frozen=True)
class PublishedView:
    """The strategies of one budget that papers report on."""

    budget: str
    """The budget."""
    text: str
    """What the numbers are, and how far they go."""
    ticks: list[tuple[float, str]]
    """(place in per cent, text) of the scale."""
    rows: list[PublishedRow]
    """The strategies, the best here first."""


def published_views(
    cells: Sequence[Cell], budgets: Sequence[str], marks: Mapping[str, Mark], model: str, tokens: float
) -> list[PublishedView]:
    """Arrange what papers print on another model; nothing if the model is the papers' own, or the ledger holds nothing.

    Args:
        cells: The model's cells.
        budgets: The budgets to choose from.
        marks: How strategies are drawn.
        model: The model.
        tokens: Its visual tokens.
    """
    if short_name(model) == BACKBONE:
        return []
    sizes = {budget: budget_size(budget) for budget in budgets}
    shares = {budget: size if size < 1 else size / tokens for budget, size in sizes.items()}
    found = published_elsewhere(list(dict.fromkeys(cell.strategy for cell in cells)), shares)
    return [view for budget in budgets if (view := _view(cells, budget, marks, model, found))]


def _view(
    cells: Sequence[Cell], budget: str, marks: Mapping[str, Mark], model: str, found: Sequence[Elsewhere]
) -> PublishedView | None:
    printed: dict[str, list[Elsewhere]] = {}
    for one in found:
        if one.budget == budget:
            printed.setdefault(one.strategy, []).append(one)
    here = [cell for cell in at_budget(cells, budget) if cell.strategy in printed and cell.kept[0] == cell.kept[0]]
    if not here:
        return None
    values = [one.retention for own in printed.values() for one in own] + [
        end for cell in here for end in cell.kept if end == end
    ]
    low = max(0.0, 20.0 * (min(values) // 20))
    scale = Scale(low, min(125.0, max(103.0, *values)), 3.0, 97.0)
    rows = [_row(cell, printed[cell.strategy], scale, marks) for cell in here]
    claims = [one.retention for cell in here for one in printed[cell.strategy]]
    tokens = next(iter(printed.values()))[0].tokens
    text = (
        f"At {budget} ({tokens} of 576 tokens), papers report {number(min(claims))} to {number(max(claims))} % for {BACKBONE}; "
        f"here the same methods keep {number(min(c.kept[0] for c in here))} to {number(max(c.kept[0] for c in here))} % on {model}. "
        "The model and the tasks are others: compare the order, never the numbers."
    )
    ticks = [(scale(20.0 * at), number(20.0 * at, 0)) for at in range(int(low // 20), 6)]
    return PublishedView(budget, text, ticks, rows)


def _row(cell: Cell, printed: Sequence[Elsewhere], scale: Scale, marks: Mapping[str, Mark]) -> PublishedRow:
    value, low, high = cell.kept
    ends = (value, value) if low != low else (low, high)
    return PublishedRow(
        cell.strategy,
        marks[cell.strategy].look,
        interval(value / 100, low / 100, high / 100),
        "; ".join(f"{number(one.retention)} ({one.source})" for one in printed),
        (scale(ends[0]), scale(value), scale(ends[1])),
        [scale(one.retention) for one in printed],
    )
