"""The samples of one task of a model as an array, with what is missing in it."""

from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from tokenbench.errors import SamplesError
from tokenbench.statistics import stratum_weights
from tokenbench.statistics.clusters import Floats, Ints

__all__ = ["Fill", "TaskSamples", "distinct", "task_samples"]

Fill = Literal["wrong", "as vanilla"]
"""What a missing answer may be taken for: the two ends of what it can have been."""


class TaskSamples(NamedTuple):
    """The samples of one task, in the order of their names."""

    scores: Floats
    """``[N, M]`` scores, NaN where a column has none."""
    clusters: Ints
    """``[N]`` codes of their clusters."""
    strata: "np.ndarray[Any, Any]"
    """``[N]`` names of their strata."""
    used: "np.ndarray[Any, np.dtype[np.bool_]]"
    """``[rows]`` whether each row of the run's table belongs to one of these samples."""
    local: Ints
    """``[rows]`` the sample of each row."""

    def missing(self, cell: Ints) -> dict[int, int]:
        """Count, for each cell, how many of vanilla's samples it has no score for, where it lacks any.

        For vanilla, it is how many of the others' samples vanilla lacks.
        """
        there = ~np.isnan(self.scores[:, 0])
        lacking = np.isnan(self.scores[there])
        lacks = np.unique(cell[lacking.any(axis=0)])
        found = {int(at): int(lacking[:, cell == at].any(axis=1).sum()) for at in lacks}
        return found if there.all() else {0: int((~there).sum()), **found}

    def complete(self, fill: Fill | None) -> "TaskSamples":
        """The samples that every column has scored.

        With ``fill`` they are those of vanilla, and missing answers are taken for one of the two extremes.
        """
        scores = self.scores
        if fill is not None:
            vanilla = scores[:, :1]
            taken = np.zeros_like(vanilla) if fill == "wrong" else vanilla
            scores = np.where(np.isnan(scores) & ~np.isnan(vanilla), taken, scores)
        whole = np.asarray(~np.isnan(scores).any(axis=1))
        return TaskSamples(scores[whole], self.clusters[whole], self.strata[whole], whole[self.local], self.local)

    @property
    def weights(self) -> Floats:
        """``[N]`` a weight that gives every stratum of the task the same say; ones without strata."""
        return stratum_weights(self.strata)


class Distinct(NamedTuple):
    """The distinct values among whole numbers from 0 on."""

    values: Ints
    """The values, each of them once, rising."""
    first: Ints
    """Where each value occurs first."""
    local: Ints
    """For each number, the position of its value."""


def distinct(numbers: "np.ndarray[Any, np.dtype[np.integer[Any]]]") -> Distinct:
    """What ``np.unique`` finds, in time that grows with how many and how large the numbers are, not with sorting them."""
    values = np.flatnonzero(np.bincount(numbers))
    place = np.zeros(int(values[-1]) + 1 if len(values) else 0, dtype=np.int64)
    place[values] = np.arange(len(values))
    local = place[numbers]
    first = np.empty(len(values), dtype=np.int64)
    first[local[::-1]] = np.arange(len(numbers))[::-1]  # the last that is written stays
    return Distinct(values, first, local)


def task_samples(model: str, task: str, rows: pd.DataFrame, numbers: Ints, columns: int) -> TaskSamples:
    """Arrange the samples of one task.

    Args:
        model: The name of the model, for errors.
        task: The name of the task, for errors.
        rows: The task's rows, with names as categories.
        numbers: The column of each row.
        columns: How many columns there are.

    Raises:
        SamplesError: If a sample occurs twice in a cell, or belongs to two clusters.
    """
    keys, first, local = distinct(rows["sample"].cat.codes.to_numpy())
    place = local * columns + numbers
    there = np.zeros(len(keys) * columns, dtype=bool)
    there[place] = True
    if np.count_nonzero(there) < len(place):
        raise SamplesError(f"{model}, {task}: a sample occurs twice in one cell")
    clusters = rows["cluster"].cat.codes.to_numpy()
    if np.any(clusters != clusters[first][local]):
        raise SamplesError(f"{model}: a sample belongs to two clusters")
    scores = np.full((len(keys), columns), np.nan)
    scores.flat[place] = rows["score"].to_numpy(dtype=np.float64)
    strata = rows["stratum"].iloc[first].astype(object).fillna("").astype(str).to_numpy() if "stratum" in rows else None
    names = np.full(len(keys), "") if strata is None else strata
    return TaskSamples(scores, clusters[first].astype(np.int64), names, np.ones(len(rows), dtype=bool), local)
