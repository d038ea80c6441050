"""What the page shows for one model at one budget: ranks, verdicts of all pairs, kept tokens."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tokenbench.comparison import MEAN
from tokenbench.statistics.ranks import ENOUGH_TASKS, Ranks, rank_test
from tokenbench_reports.html.grids import Cell, Grid, judgement, tinted
from tokenbench_reports.html.kept import agreement
from tokenbench_reports.html.maps import BiasMap
from tokenbench_reports.standing import Standing
from tokenbench_reports.wording import interval, number, p_value, percent


@dataclass(frozen=True)
class RankBar:
    """The ranks that the verdicts leave open, also in per cent of the picture's width."""

    strategy: str
    low: int
    high: int
    left: float
    width: float
    top: bool


@dataclass(frozen=True)
class Critical:
    """A critical-difference picture: places of the mean ranks, and the groups no pair of which is distinguishable.

    Attributes:
        ranks: the test behind it.
        marks: (strategy, mean rank, place in per cent), best first.
        groups: (left, right) in per cent.
        length: of the critical difference, in per cent.
    """

    ranks: Ranks
    marks: list[tuple[str, float, float]]
    groups: list[tuple[float, float]]
    length: float


@dataclass(frozen=True)
class BudgetView:
    """Everything for one budget."""

    budget: str
    ranks: list[RankBar]
    matrix: Grid
    critical: Critical | None
    agreement: Grid | None
    maps: list[BiasMap]


def budget_view(
    group: Standing, between: pd.DataFrame, summary: pd.DataFrame, samples: pd.DataFrame, maps: list[BiasMap]
) -> BudgetView:
    """Arrange one budget; ``samples`` are thinned rows of the model, ``between`` its F2 pairs."""
    here = between[between["budget"] == group.budget]
    return BudgetView(
        budget=group.budget,
        ranks=_ranks(group),
        matrix=_matrix(group, here),
        critical=_critical(group, summary[summary["budget"] == group.budget], here),
        agreement=_agreement(group, samples[samples["budget"] == group.budget]),
        maps=sorted(
            (found for found in maps if found.budget == group.budget), key=lambda m: group.strategies.index(m.strategy)
        ),
    )


def _ranks(group: Standing) -> list[RankBar]:
    total = len(group.strategies)
    bars = []
    for name in group.strategies:
        low, high = group.ranks(name)
        bars.append(
            RankBar(name, low, high, 100 * (low - 1) / total, 100 * (high - low + 1) / total, name in group.top)
        )
    return bars


def _matrix(group: Standing, pairs: pd.DataFrame) -> Grid:
    """The verdict on the strategy of the row against that of the column."""
    known = {(row["a"], row["b"]): row for row in pairs.to_dict("records")}
    rows = []
    for a in group.strategies:
        row = [Cell(a)]
        for b in group.strategies:
            row.append(Cell("", tone="self") if a == b else _relation(a, b, known))
        rows.append(row)
    caption = f"Row against column at {group.budget}: ▲ better, ▼ worse, · not distinguishable (adjusted, family F2)"
    return Grid(caption, ["", *group.strategies], rows)


def _relation(a: str, b: str, known: Mapping[tuple[str, str], Mapping[Hashable, Any]]) -> Cell:
    row, sign = (known[a, b], 1.0) if (a, b) in known else (known[b, a], -1.0)
    difference, low, high = (sign * row[name] for name in ("difference", "low", "high"))
    verdict = row["verdict"] if sign > 0 else row["verdict"].mirrored
    ends = sorted((low, high)) if low == low else (low, high)
    hint = (
        f"{a} − {b}: {interval(difference, *ends, signed=True, marks=[0.0])} points of retention, p {p_value(row['p'])}"
    )
    return judgement(verdict, hint=hint)


def _critical(group: Standing, cells: pd.DataFrame, pairs: pd.DataFrame) -> Critical | None:
    """Mean ranks over the tasks, one row a task; only where there are enough tasks."""
    scores = cells[cells["task"] != MEAN].pivot(index="task", columns="strategy", values="score")
    if len(scores) < ENOUGH_TASKS:
        return None
    scores = scores[group.strategies]
    ranks = rank_test(scores.to_numpy(dtype=np.float64))
    total = len(group.strategies)
    order = np.argsort(ranks.mean, kind="stable")
    places = 100 * (ranks.mean - 1) / max(1, total - 1)
    apart = {
        frozenset((a, b))
        for a, b, verdict in zip(pairs["a"], pairs["b"], pairs["verdict"], strict=True)
        if verdict.sign
    }
    names = [group.strategies[at] for at in order]
    marks = [(group.strategies[at], float(ranks.mean[at]), float(places[at])) for at in order]
    spans = [(marks[i][2], marks[j][2]) for i, j in cliques(names, apart)]
    return Critical(ranks, marks, spans, 100 * ranks.critical_difference / max(1, total - 1))


def cliques(names: list[str], apart: set[frozenset[str]]) -> list[tuple[int, int]]:
    """The longest runs of neighbours no two of which are significantly different, as (first, last) positions."""
    found: list[tuple[int, int]] = []
    for first in range(len(names)):
        last = first
        while last + 1 < len(names) and not any(
            frozenset((names[last + 1], name)) in apart for name in names[first : last + 1]
        ):
            last += 1
        if last > first and not (found and found[-1][1] >= last):
            found.append((first, last))
    return found


def _agreement(group: Standing, samples: pd.DataFrame) -> Grid | None:
    table = agreement(samples)
    if table.empty:
        return None
    known = {frozenset((row["a"], row["b"])): row for row in table.to_dict("records")}
    rows = []
    for a in group.strategies:
        row = [Cell(a)]
        for b in group.strategies:
            found = known.get(frozenset((a, b)))
            if a == b or found is None:
                row.append(Cell("", tone="self"))
                continue
            hint = f"{a} and {b}: {percent(found['overlap'], 0)} % in common, by chance {percent(found['chance'], 0)} %"
            row.append(tinted(number(100 * found["overlap"], 0), found["overlap"], 0.0, 1.0, hint))
        rows.append(row)
    caption = f"Kept by both at {group.budget}, % of what either keeps to the end (mean over samples)"
    return Grid(caption, ["", *group.strategies], rows)
