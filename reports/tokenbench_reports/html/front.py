"""What is best for its cost, by the estimates."""

from collections.abc import Sequence

from tokenbench_reports.html.cells import Cell

TOLERANCE = 0.01
"""Costs that differ by no more than this share count as the same."""


def front(cells: Sequence[Cell], axis: str) -> list[Cell]:
    """The cells that no other beats at the same or a lower cost, the cheapest first."""
    here = [cell for cell in cells if axis in cell.costs and cell.kept[0] == cell.kept[0]]
    best = [cell for cell in here if not any(_beats(other, cell, axis) for other in here)]
    return sorted(best, key=lambda cell: (cell.costs[axis][0], cell.kept[0]))


def _beats(a: Cell, b: Cell, axis: str) -> bool:
    cost_a, cost_b = a.costs[axis][0], b.costs[axis][0]
    if cost_a > cost_b * (1 + TOLERANCE):
        return False
    return a.kept[0] > b.kept[0] or (a.kept[0] == b.kept[0] and cost_a * (1 + TOLERANCE) < cost_b)


def stairs(cells: Sequence[Cell], axis: str) -> list[tuple[float, float]]:
    """(cost, accuracy kept) where the best accuracy that a cost buys rises, the cheapest first."""
    points = sorted((cell.costs[axis][0], cell.kept[0]) for cell in cells if axis in cell.costs and cell.kept[0] == cell.kept[0])
    steps: list[tuple[float, float]] = []
    for cost, kept in points:
        if not steps or kept > steps[-1][1]:
            steps.append((cost, kept))
    return steps
