"""What is best for its cost, by the estimates."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from tokenbench_reports.html.cells import Cell

TOLERANCE = 0.01
"""Costs that differ by no more than this share count as the same."""


def front(cells: Sequence[Cell], axis: str) -> list[Cell]:
    """The cells that no other beats at the same or a lower cost, the cheapest first."""
    here = sorted(_known(cells, axis), key=lambda cell: (cell.costs[axis][0], cell.kept[0]))
    costs = [cell.costs[axis][0] for cell in here]
    most = list(accumulate((cell.kept[0] for cell in here), max))
    cheapest: dict[float, float] = {}
    for cell, cost in zip(here, costs, strict=True):
        cheapest.setdefault(cell.kept[0], cost)
    found = []
    for cell, cost in zip(here, costs, strict=True):
        kept = cell.kept[0]
        beaten = most[bisect_right(costs, cost * (1 + TOLERANCE)) - 1] > kept
        if not beaten and cheapest[kept] * (1 + TOLERANCE) >= cost:
            found.append(cell)
    return found


def stairs(cells: Sequence[Cell], axis: str) -> list[tuple[float, float]]:
    """(cost, accuracy kept) where the best accuracy that a cost buys rises, the cheapest first."""
    steps: list[tuple[float, float]] = []
    for cost, kept in sorted((cell.costs[axis][0], cell.kept[0]) for cell in _known(cells, axis)):
        if not steps or kept > steps[-1][1]:
            steps.append((cost, kept))
    return steps


def _known(cells: Sequence[Cell], axis: str) -> list[Cell]:
    return [cell for cell in cells if axis in cell.costs and cell.kept[0] == cell.kept[0]]
