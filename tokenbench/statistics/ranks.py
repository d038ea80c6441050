"""Ranks over tasks: Friedman's test and Nemenyi's critical difference (Demsar 2006), for pictures only.

Verdicts come from the samples themselves (``family``); ranks over a handful of tasks know far less. One row is one
task: rows that repeat a task with another model or budget are no new tasks, and would find differences that are not
there.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from tokenbench.statistics.clusters import Floats

ENOUGH_TASKS = 8


class Ranks(NamedTuple):
    """Mean ranks of K strategies over T tasks."""

    mean: Floats
    """``[K]`` mean ranks; 1 is the best."""
    chi2: float
    """Friedman's statistic, without correction for ties."""
    f: float
    """The statistic of Iman and Davenport (1980), on K - 1 and (K - 1)(T - 1) degrees of freedom."""
    p: float
    """p of ``f``."""
    critical_difference: float
    """Nemenyi's critical difference."""


def rank_test(scores: Floats, alpha: float = 0.05) -> Ranks:
    """Rank strategies within every task.

    Args:
        scores: ``[T, K]`` scores, higher is better; rounded to ten digits, so that ties are ties.
        alpha: The level of the critical difference.
    """
    from scipy import stats  # half a second that only pictures need

    tasks, count = scores.shape
    mean = stats.rankdata(-np.round(scores, 10), axis=1).mean(axis=0)
    chi2 = float(12 * tasks / (count * (count + 1)) * ((mean**2).sum() - count * (count + 1) ** 2 / 4))
    room = tasks * (count - 1) - chi2
    f = (tasks - 1) * chi2 / room if room > 1e-12 else float("inf")
    p = float(stats.f.sf(f, count - 1, (count - 1) * (tasks - 1)))
    quantile = _studentized_range(alpha, count) / np.sqrt(2)
    return Ranks(mean, chi2, float(f), p, float(quantile * np.sqrt(count * (count + 1) / (6 * tasks))))


@cache  # a numerical integral, the same for every model and budget
def _studentized_range(tail: float, count: int) -> float:
    from scipy import stats

    return float(stats.studentized_range.isf(tail, count, np.inf))
