"""Published numbers of the same strategies beside the measured ones, on one scale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenbench.comparison import Comparison
from tokenbench.comparison.wording import interval, join_names, number
from tokenbench_reports.claims import PublishedMean, published_means, short_name
from tokenbench_reports.html.cells import Cell, at_budget
from tokenbench_reports.html.marks import Mark
from tokenbench_reports.html.scale import Bar, Scale


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
    places: Bar
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
    comparison: Comparison, model: str, cells: Sequence[Cell], budgets: Sequence[str], marks: Mapping[str, Mark]
) -> list[PublishedView]:
    """Arrange what papers print on other models; nothing if they report on this one, or the ledger holds nothing.

    Args:
        comparison: What was measured.
        model: The model.
        cells: The model's cells.
        budgets: The budgets to choose from.
        marks: How strategies are drawn.
    """
    found = [one for one in published_means(comparison, model) if one.backbone != short_name(model)]
    return [view for budget in budgets if (view := _view(cells, budget, marks, model, found))]


def _view(
    cells: Sequence[Cell], budget: str, marks: Mapping[str, Mark], model: str, found: Sequence[PublishedMean]
) -> PublishedView | None:
    printed: dict[str, list[PublishedMean]] = {}
    for one in found:
        if one.budget == budget:
            printed.setdefault(one.strategy, []).append(one)
    here = [cell for cell in at_budget(cells, budget) if cell.strategy in printed and cell.kept[0] == cell.kept[0]]
    if not here:
        return None
    claims = [one for cell in here for one in printed[cell.strategy]]
    papers, own = [one.kept for one in claims], [cell.kept[0] for cell in here]
    ends = [end for cell in here for end in cell.kept if end == end]
    low = max(0.0, 20.0 * (min(papers + ends) // 20))
    scale = Scale(low, min(125.0, max([103.0, *papers, *ends])), 3.0, 97.0)
    models = join_names(dict.fromkeys(one.backbone for one in claims))
    text = (
        f"At {budget}, papers report {_span(papers)} % for {models}; here the same methods keep {_span(own)} % on {model}. "
        "These are other models and other tasks: compare the order, never the numbers."
    )
    ticks = [(scale(20.0 * at), number(20.0 * at, 0)) for at in range(int(low // 20), 6)]
    return PublishedView(budget, text, ticks, [_row(cell, printed[cell.strategy], scale, marks) for cell in here])


def _span(values: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(number(value) for value in (min(values), max(values))))


def _row(cell: Cell, printed: Sequence[PublishedMean], scale: Scale, marks: Mapping[str, Mark]) -> PublishedRow:
    value, low, high = cell.kept
    ends = (value, value) if low != low else (low, high)
    return PublishedRow(
        cell.strategy,
        marks[cell.strategy].look,
        interval(value / 100, low / 100, high / 100),
        "; ".join(f"{number(one.kept)} ({one.source.partition(',')[0]}, {one.backbone})" for one in printed),
        scale.bar(value, *ends),
        [scale(one.kept) for one in printed],
    )
