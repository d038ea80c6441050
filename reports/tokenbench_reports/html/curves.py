"""Retention over the budgets, a small picture a strategy, all on one scale."""

from dataclasses import dataclass

import pandas as pd

from tokenbench.comparison.panel import budget_size
from tokenbench.comparison.wording import interval
from tokenbench.contract.cells import VANILLA

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 200, 110, 30, 8, 20


@dataclass(frozen=True)
class Curve:
    """The curve of one strategy, in the coordinates of its picture."""

    strategy: str
    """The name of the strategy."""
    line: str
    """Points of the values."""
    band: str
    """Polygon of the intervals."""
    floor: str
    """Points of the random floor; empty if it did not run."""
    dots: list[tuple[float, float, str]]
    """(x, y, text) of every budget."""
    ticks: list[tuple[float, str]]
    """(x, budget) of every tick below the picture."""
    levels: list[tuple[float, int]]
    """(y, per cent) of every line across the picture."""
    vanilla: float
    """y of 100 %."""


def curves(mean: pd.DataFrame) -> list[Curve]:
    """One curve per strategy that ran at two budgets or more, the best at the smallest budget first."""
    cells = mean[
        (mean["strategy"] != VANILLA) & mean["retention"].notna() & (mean["budget"].map(budget_size) < float("inf"))
    ]
    budgets = sorted(dict.fromkeys(cells["budget"]), key=lambda budget: -budget_size(str(budget)))
    if len(budgets) < 2:
        return []
    high = max(105.0, 100 * float(cells["retention_high"].fillna(0).max()))
    low = max(0.0, 20 * (100 * float(cells["retention_low"].fillna(0).min()) // 20))
    step = (WIDTH - LEFT - 20) / (len(budgets) - 1)
    place = {str(budget): LEFT + 6 + step * at for at, budget in enumerate(budgets)}

    def y(value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (high - min(high, max(low, 100 * value))) / (high - low), 1)

    random = cells[cells["strategy"] == "random"]
    floor = _path([(place[str(b)], y(v)) for b, v in zip(random["budget"], random["retention"], strict=True)])
    levels = [(y(level / 100), level) for level in range(0, 101, 50 if high - low > 60 else 20) if low <= level <= high]
    drawn = []
    for strategy, rows in cells.groupby("strategy", sort=False):
        rows = rows.sort_values("budget", key=lambda column: -column.map(budget_size))
        if len(rows) < 2:
            continue
        xs = [place[str(budget)] for budget in rows["budget"]]
        top = [(x, y(v)) for x, v in zip(xs, rows["retention_high"].fillna(rows["retention"]), strict=True)]
        bottom = [(x, y(v)) for x, v in zip(xs, rows["retention_low"].fillna(rows["retention"]), strict=True)]
        texts = [
            f"{strategy} at {row['budget']}: {interval(row['retention'], row['retention_low'], row['retention_high'])} %"
            for row in rows.to_dict("records")
        ]
        points = [(x, y(v)) for x, v in zip(xs, rows["retention"], strict=True)]
        dots = [(*point, text) for point, text in zip(points, texts, strict=True)]
        ticks = [(x, budget) for budget, x in place.items()]
        last = float(rows["retention"].iloc[-1])
        own_floor = "" if strategy == "random" else floor
        curve = Curve(str(strategy), _path(points), _path(top + bottom[::-1]), own_floor, dots, ticks, levels, y(1.0))
        drawn.append((last, curve))
    return [curve for _, curve in sorted(drawn, key=lambda item: -item[0])]


def _path(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
