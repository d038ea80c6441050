"""How fast accuracy falls with the budget: one small picture a strategy, all on the same axes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenbench.comparison.panel import budget_size
from tokenbench.comparison.wording import interval, number
from tokenbench_reports.html.cells import Cell
from tokenbench_reports.html.marks import Mark
from tokenbench_reports.html.scale import Scale, kept_range

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 168, 118, 30, 156, 8, 98


@dataclass(frozen=True)
class Panel:
    """The picture of one strategy."""

    strategy: str
    """The strategy."""
    look: str
    """The end of its classes."""
    ends: str
    """The accuracy kept at the smallest and at the largest budget."""
    line: str
    """Its line."""
    dots: list[tuple[float, float, float, float]]
    """(x, y, lower limit, upper limit) of every budget."""
    text: str
    """All its numbers."""


@dataclass(frozen=True)
class Multiples:
    """The pictures, and what they share."""

    panels: list[Panel]
    """The pictures, the best at the largest budget first."""
    others: list[str]
    """The lines of all strategies, which every picture shows in grey."""
    floor: str
    """The area that floors reach, as points; empty if none ran."""
    budgets: list[tuple[float, str]]
    """(x, budget), the smallest first."""
    levels: list[tuple[float, str]]
    """(y, text) of the lines across."""
    hundred: float
    """The height of 100 %."""


def multiples(cells: Sequence[Cell], marks: Mapping[str, Mark]) -> Multiples | None:
    """Draw the strategies that ran at two budgets or more; None if there are none."""
    known = [cell for cell in cells if cell.kept[0] == cell.kept[0] and budget_size(cell.budget) < float("inf")]
    budgets = sorted(dict.fromkeys(cell.budget for cell in known), key=budget_size)
    if len(budgets) < 2:
        return None
    low, high = kept_range(known)
    y = Scale(low, high, BOTTOM, TOP)
    place = {budget: LEFT + 8 + (RIGHT - LEFT - 16) * at / (len(budgets) - 1) for at, budget in enumerate(budgets)}
    own: dict[str, list[Cell]] = {}
    for cell in sorted(known, key=lambda cell: budget_size(cell.budget)):
        own.setdefault(cell.strategy, []).append(cell)
    lines = {name: _line(rows, place, y) for name, rows in own.items() if len(rows) > 1 and not rows[0].floor}
    if not lines:
        return None
    panels = [_panel(name, own[name], line, place, y, marks) for name, line in lines.items()]
    step = 20 if high - low <= 60 else 40
    every = max(1, -(-len(budgets) // 4))
    return Multiples(
        sorted(panels, key=lambda panel: -own[panel.strategy][-1].kept[0]),
        list(lines.values()),
        _floor(known, budgets, place, y),
        [(round(place[budget], 1), budget) for at, budget in enumerate(budgets) if at % every == 0],
        [(y(level), number(level, 0)) for level in range(int(low), 100, step)],
        y(100.0),
    )


def _line(cells: Sequence[Cell], place: Mapping[str, float], y: Scale) -> str:
    return " ".join(f"{place[cell.budget]:.1f},{y(cell.kept[0])}" for cell in cells)


def _panel(
    name: str, cells: Sequence[Cell], line: str, place: Mapping[str, float], y: Scale, marks: Mapping[str, Mark]
) -> Panel:
    dots = [
        (round(place[cell.budget], 1), y(value), y(value if low != low else low), y(value if high != high else high))
        for cell in cells
        for value, low, high in [cell.kept]
    ]
    ends = f"{number(cells[0].kept[0], 0)} → {number(cells[-1].kept[0], 0)}"
    parts = [f"{interval(*(part / 100 for part in cell.kept))} % at {cell.budget}" for cell in cells]
    return Panel(name, marks[name].look, ends, line, dots, f"{name}: {'; '.join(parts)}")


def _floor(cells: Sequence[Cell], budgets: Sequence[str], place: Mapping[str, float], y: Scale) -> str:
    best = {
        budget: max((c.kept[0] for c in cells if c.floor and c.budget == budget), default=None) for budget in budgets
    }
    points = [(place[budget], y(value)) for budget, value in best.items() if value is not None]
    if len(points) < 2:
        return ""
    corners = [(points[-1][0], BOTTOM), (points[0][0], BOTTOM)]
    return " ".join(f"{x:.1f},{height}" for x, height in [*points, *corners])
