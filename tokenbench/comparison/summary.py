"""Rows of the summary table: every cell with its score, retention and cost."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tokenbench.comparison.measures import Measures
from tokenbench.comparison.panel import COST
from tokenbench.statistics import Estimates, Interval, bounded_interval
from tokenbench.statistics.clusters import UNKNOWN
from tokenbench.statistics.quantiles import student_critical

MEAN = "mean"
Row = dict[str, Any]
NAN = float("nan")


def summary_rows(measures: Measures) -> Iterator[Row]:
    """One row per cell and task, and one per cell for the mean over tasks; the latter alone for models together."""
    for at in range(len(measures.panel.cells)):
        for position in range(len(measures.tasks) if measures.panel.models == 1 else 0):
            yield _task_row(measures, at, position)
        yield _mean_row(measures, at)


def _task_row(measures: Measures, at: int, position: int) -> Row:
    task = measures.tasks[position]
    cell = task.means[at]
    cost: Any = measures.panel.cost.loc[(*measures.panel.cells[at], task.name), :]
    return {
        **_identity(measures, at, task.name),
        **{"n": cell.n, "clusters": cell.clusters, "deff": cell.deff},
        **_score(cell.mean, cell.interval),
        **_retention(measures, task.retention, at, [position]),
        **{name: float(cost[name]) for name in COST},
    }


def _mean_row(measures: Measures, at: int) -> Row:
    panel, score = measures.panel, measures.score
    n, clusters = panel.samples, len(panel.clusters)
    # As in a single task: without clustering the unit is the sample, and the normal critical value is the right one.
    df = float(score.df[at]) if clusters < n or score.noise_variance[at] > 0 else np.inf
    mean = float(score.value[at])
    costs: Any = panel.cost.loc[panel.cells[at], :]
    return {
        **_identity(measures, at, MEAN),
        **{"n": n, "clusters": clusters, "deff": NAN},
        **_score(mean, bounded_interval(mean, float(score.se[at]), df, n, clusters, measures.alpha)),
        **_retention(measures, measures.retention, at, measures.safe),
        **{name: float(costs[name].mean()) for name in COST},
    }


def _identity(measures: Measures, at: int, task: str) -> Row:
    strategy, budget = measures.panel.cells[at]
    seeds = int((measures.panel.cell == at).sum())
    return {"model": measures.panel.model, "strategy": strategy, "budget": budget, "task": task, "seeds": seeds}


def _score(mean: float, interval: Interval) -> Row:
    return {"score": mean, "score_low": interval.low, "score_high": interval.high}


def _retention(measures: Measures, estimates: Estimates | None, at: int, positions: Sequence[int]) -> Row:
    """Pointwise t interval; vanilla is its own reference and has none."""
    names = ("retention", "retention_low", "retention_high")
    if estimates is None:
        return dict.fromkeys(names, NAN)
    if at == 0:
        return dict.fromkeys(names, 1.0)
    value = float(estimates.value[at]) / 100
    se = float(np.sqrt(estimates.se[at] ** 2 + measures.floor(at, 0, positions))) / 100
    half = float(student_critical(measures.alpha / 2, estimates.df[at])) * se
    interval = Interval(max(0.0, value - half), value + half) if np.isfinite(half) else UNKNOWN
    return dict(zip(names, (value, *interval), strict=True))
