"""Where a strategy loses and where it does not: answers that stay the same, and the change of the score on parts of the questions.

Every question counts once, whatever its task. A part is never chosen by what the strategy answered, since a part that is
chosen for its errors shows errors. Limits are pointwise, and nothing is tested.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tokenbench.comparison.panel import Scopes
from tokenbench.contract.cells import CELL, VANILLA, base_of
from tokenbench.statistics import TaskSums, change_interval, cluster_sums, score_intervals
from tokenbench.statistics.clusters import Booleans, Floats, Ints

__all__ = ["CHANGE", "LOST", "MENDED", "SAME", "locate_losses"]

SAME, LOST, MENDED, CHANGE = "same answer", "right to wrong", "wrong to right", "change"
"""The measures: shares of the questions, and the difference in score to vanilla."""
ALL = "all"
EASY = "downsample"
"""The trivial baseline whose right answers make a question easy."""
RIGHT = 0.5
"""An answer is right from this score on."""
THIRDS = ("upper", "middle", "lower")
WHOLE = 1 - 1e-9
Row = dict[str, Any]


@dataclass(frozen=True)
class _Questions:
    """The questions of a model, in numbers."""

    clusters: Ints
    """``[N]`` cluster of each question."""
    vanilla: Floats
    """``[N]`` vanilla's scores; NaN where it has none."""
    thirds: Ints
    """``[N]`` the third of the picture that the evidence is in, from the top; -1 if that is not known."""
    easy: Mapping[str, Floats]
    """By budget, ``[N]`` scores of the smaller picture."""


@dataclass(frozen=True)
class _Arm:
    """A strategy at a budget on the questions of its model, ``[N, M]`` each, a column for each seed."""

    scores: Floats
    """The scores; NaN where there is none."""
    same: Floats
    """Whether the answer is vanilla's."""
    recall: Floats
    """The share of the evidence that was kept."""


def locate_losses(units: pd.DataFrame, scopes: Scopes, alpha: float) -> pd.DataFrame:
    """Compute the rows of the table.

    Args:
        units: The samples, as `compare` takes them; ``same`` (whether the answer is vanilla's) and ``evidence_height`` may be
            absent.
        scopes: Which samples one draw of a strategy may affect.
        alpha: One minus the coverage of each interval.

    Returns:
        One row per model, strategy, budget, part and measure, with the number of samples and clusters, and a value with its
        limits, all fractions. Parts without a question have no row.
    """
    rows: list[Row] = []
    for model, own in units.groupby("model", observed=True, sort=True):
        # In the order of their names, so that the numbers do not depend on the order of the rows.
        number = np.asarray(own.groupby(["task", "sample"], observed=True, sort=True).ngroup(), dtype=np.int64)
        questions = _questions(own, number)
        cells = own.groupby(["strategy", "budget"], observed=True, sort=False).ngroup().to_numpy()
        for at in (np.flatnonzero(cells == cell) for cell in range(cells.max() + 1)):
            first = own.iloc[at[0]]
            key = {"model": str(model), "strategy": str(first["strategy"]), "budget": str(first["budget"])}
            if key["strategy"] != VANILLA:
                arm = _arm(own.iloc[at], number[at], len(questions.vanilla))
                shared = scopes.get(key["strategy"], "run") != "sample"
                rows += [{**key, **row} for row in _rows(arm, questions, key, shared, alpha)]
    columns = [*CELL, "part", "measure", "samples", "clusters", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _questions(own: pd.DataFrame, number: Ints) -> _Questions:
    count = int(number.max()) + 1
    names = own["strategy"].astype(str).to_numpy()
    vanilla = np.flatnonzero(names == VANILLA)
    clusters = np.zeros(count, dtype=np.int64)
    clusters[number] = pd.factorize(own["cluster"].astype(str), sort=True)[0]
    height = (
        own["evidence_height"].to_numpy(dtype=np.float64) if "evidence_height" in own else np.full(len(own), np.nan)
    )
    found = _place(height[vanilla], number[vanilla], count)
    thirds = np.where(np.isnan(found), -1, np.minimum(np.nan_to_num(found) * 3, 2)).astype(np.int64)
    scores = own["score"].to_numpy(dtype=np.float64)
    smaller = np.array([base_of(name) == EASY for name in names])
    budgets = own["budget"].astype(str).to_numpy()
    easy = {}
    for budget in dict.fromkeys(budgets[smaller]):
        at = np.flatnonzero(smaller & (budgets == budget))
        at = at[names[at] == names[at[0]]]  # of two runs, the first one's
        easy[str(budget)] = _place(scores[at], number[at], count)
    return _Questions(clusters, _place(scores[vanilla], number[vanilla], count), thirds, easy)


def _place(values: Floats, number: Ints, count: int) -> Floats:
    placed = np.full(count, np.nan)
    placed[number] = values
    return placed


def _arm(own: pd.DataFrame, number: Ints, count: int) -> _Arm:
    seeds = np.unique(own["seed"].to_numpy(), return_inverse=True)[1]

    def spread(name: str) -> Floats:
        table = np.full((count, int(seeds.max()) + 1), np.nan)
        if name in own:
            table[number, seeds] = own[name].to_numpy(dtype=np.float64)
        return table

    return _Arm(spread("score"), spread("same"), spread("evidence_recall"))


def _rows(arm: _Arm, questions: _Questions, key: Mapping[str, str], shared: bool, alpha: float) -> Iterator[Row]:
    there = ~np.isnan(arm.scores).any(axis=1) & ~np.isnan(questions.vanilla)
    before, after = questions.vanilla[:, None] >= RIGHT, arm.scores >= RIGHT
    shares = {SAME: arm.same, LOST: (before & ~after).astype(np.float64), MENDED: (~before & after).astype(np.float64)}
    counted = np.array([float(shared)])
    for measure, values in shares.items():
        known = there & ~np.isnan(values).any(axis=1)
        if known.any():
            task, images = _sums(values, questions.clusters, known)
            found = score_intervals([task], np.zeros(values.shape[1], dtype=np.int64), images, counted, alpha)
            yield _row(ALL, measure, task, *(float(limit[0]) for limit in found))
    both = np.column_stack([questions.vanilla, arm.scores])
    cell = np.minimum(np.arange(both.shape[1]), 1)
    for part, inside in _parts(arm, questions, key).items():
        known = there & inside
        if known.any():
            task, images = _sums(both, questions.clusters, known)
            yield _row(part, CHANGE, task, *change_interval(task, cell, images, np.array([0.0, float(shared)]), alpha))


def _parts(arm: _Arm, questions: _Questions, key: Mapping[str, str]) -> dict[str, Booleans]:
    """``[N]`` which questions are in each part.

    Easy and hard say nothing about the smaller picture itself, whose own answers they are made of.
    """
    parts = {ALL: np.ones(len(questions.vanilla), dtype=bool)}
    easy = questions.easy.get(key["budget"])
    if easy is not None and base_of(key["strategy"]) != EASY:
        parts |= {"easy": easy >= RIGHT, "hard": easy < RIGHT}
    parts |= {name: questions.thirds == at for at, name in enumerate(THIRDS)}
    kept = arm.recall.mean(axis=1)
    return parts | {"evidence kept": kept >= WHOLE, "evidence lost": kept < WHOLE}


def _sums(values: Floats, clusters: Ints, chosen: Booleans) -> tuple[TaskSums, int]:
    """The sums by cluster of the questions that are chosen, and how many clusters there are."""
    names, codes = np.unique(clusters[chosen], return_inverse=True)
    sums = cluster_sums(values[chosen], codes, len(names))
    return TaskSums(np.arange(len(names)), np.bincount(codes).astype(np.float64), sums), len(names)


def _row(part: str, measure: str, task: TaskSums, value: float, low: float, high: float) -> Row:
    counts = {"samples": int(task.sizes.sum()), "clusters": len(task.sizes)}
    return {"part": part, "measure": measure, **counts, "value": value, "low": low, "high": high}
