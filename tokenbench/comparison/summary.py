"""Rows of the summary table: every cell with its score, retention and cost."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tokenbench.comparison.measures import Measures, Scores
from tokenbench.comparison.pairs import MEAN, NAN, ModelLook, Row, Settings, last_view
from tokenbench.comparison.panel import COST, Treatment
from tokenbench.comparison.single import task_tests
from tokenbench.statistics import Pairing, Scale

Limits = tuple[float, float, float]
UNKNOWN: Limits = (NAN, NAN, NAN)


def summary_rows(views: Sequence[ModelLook], settings: Settings, headline: Mapping[Treatment, Limits]) -> Iterator[Row]:
    """Compute one row per cell and task, and one per cell for the mean over tasks; only the latter for models together.

    Args:
        views: All looks so far; a cell is shown as at its last look.
        settings: How the families are tested.
        headline: Retention of the cells over all tasks with its limits, from family F1.
    """
    cells = dict.fromkeys(cell for view in reversed(views) for cell in view.measures.panel.cells)
    ratios = {view.number: _task_retention(view.measures, settings) for view in views}
    for cell in cells:
        view = last_view(views, [cell])
        measures, at = view.measures, view.measures.panel.places[cell]
        for position in range(len(measures.tasks) if measures.panel.models == 1 else 0):
            yield _task_row(measures, at, position, ratios[view.number][position][at])
        yield _mean_row(measures, at, headline.get(cell, UNKNOWN))


def _task_retention(measures: Measures, settings: Settings) -> list[list[Limits]]:
    """Accuracy retention of every cell in per cent, task by task, with pointwise limits."""
    count = len(measures.panel.cells)
    control: list[Pairing] = [(at, 0) for at in range(1, count)]
    found = []
    for position, task in enumerate(measures.tasks):
        if not task.safe or not control or measures.panel.models > 1:
            found.append([UNKNOWN] * count)
            continue
        ratio = measures.on_task(position, control, Scale.RETENTION)
        tests = task_tests(measures, position, control, settings.resamples, settings.seed)
        low, high = tests.limits(ratio, measures.alpha)
        rows = np.stack([100 + ratio.value, 100 + low, 100 + high], axis=1).tolist()
        found.append([UNKNOWN, *(tuple(row) for row in rows)])
    return found


def _task_row(measures: Measures, at: int, position: int, ratio: Limits) -> Row:
    task = measures.tasks[position]
    cost = measures.panel.costs[(*measures.panel.cells[at], task.name)]
    return {
        **_identity(measures, at, task.name),
        **{"n": task.samples, "clusters": task.images, "deff": float(task.deff[at])},
        **_score(task.scores, at),
        **_retention(ratio, vanilla=at == 0 and task.safe),
        **{name: float(cost[name]) for name in COST},
    }


def _mean_row(measures: Measures, at: int, ratio: Limits) -> Row:
    panel = measures.panel
    costs: Any = panel.cost.loc[panel.cells[at], :]
    return {
        **_identity(measures, at, MEAN),
        **{"n": panel.samples, "clusters": panel.images, "deff": NAN},
        **_score(measures.score, at),
        **_retention(ratio, vanilla=at == 0 and measures.scale is not None),
        **{name: float(costs[name].mean()) for name in COST},
    }


def _identity(measures: Measures, at: int, task: str) -> Row:
    strategy, budget = measures.panel.cells[at]
    seeds = int((measures.panel.cell == at).sum())
    return {"model": measures.panel.model, "strategy": strategy, "budget": budget, "task": task, "seeds": seeds}


def _score(scores: Scores, at: int) -> Row:
    return {
        "score": float(scores.value[at]),
        "score_low": float(scores.low[at]),
        "score_high": float(scores.high[at]),
    }


def _retention(ratio: Limits, *, vanilla: bool) -> Row:
    """Retention as fractions; vanilla is its own reference and has no interval."""
    names = ("retention", "retention_low", "retention_high")
    return dict.fromkeys(names, 1.0) if vanilla else {name: one / 100 for name, one in zip(names, ratio, strict=True)}
