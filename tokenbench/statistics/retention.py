"""Scores over tasks: the mean, and retention, the mean of 100 x score / vanilla's score.

Both are smooth functions of cluster sums, so their errors follow from influence values (the delta method). Vanilla is
measured on the same images, so its influence enters with its sign: taking it as a constant would widen every interval.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tokenbench.statistics.clusters import Floats, Ints, influence
from tokenbench.statistics.estimates import Estimates, Part


class TaskSums(NamedTuple):
    """Scores of one task by cluster.

    Attributes:
        index: ``[G_t]`` positions of the task's clusters among all clusters, each once.
        sizes: ``[G_t]`` samples per cluster.
        sums: ``[G_t, M]`` sums of scores of M columns (a cell, or one seed of it).
    """

    index: Ints  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    sizes: Floats
    sums: Floats

    @property
    def means(self) -> Floats:
        """``[M]`` mean score of each column."""
        return np.asarray(self.sums.sum(axis=0) / self.sizes.sum())


def mean_score(tasks: Sequence[TaskSums]) -> Estimates:
    """Unweighted mean over tasks of the mean score, ``[M]``."""
    parts = [_part(task, influence(task.sums, task.sizes) / len(tasks)) for task in tasks]
    return Estimates(np.mean([task.means for task in tasks], axis=0), parts, _clusters(tasks))


def retention(tasks: Sequence[TaskSums], vanilla: Floats) -> Estimates:
    """Mean over tasks of ``100 * m / m_vanilla``, ``[M]`` in per cent.

    Args:
        tasks: tasks on which vanilla's mean is safely above zero (the caller checks).
        vanilla: ``[M]`` weights that make vanilla's score from the columns, summing to one.
    """
    values, parts = [], []
    for task in tasks:
        psi, reference = influence(task.sums, task.sizes), float(task.means @ vanilla)
        ratio = task.means / reference
        relative = (psi - np.outer(psi @ vanilla, ratio)) / reference
        values.append(100 * ratio)
        parts.append(_part(task, 100 / len(tasks) * relative))
    return Estimates(np.mean(values, axis=0), parts, _clusters(tasks))


def _part(task: TaskSums, psi: Floats) -> Part:
    return Part(task.index, task.sizes / task.sizes.sum(), psi)


def _clusters(tasks: Sequence[TaskSums]) -> int:
    return 1 + max(int(task.index.max()) for task in tasks)
