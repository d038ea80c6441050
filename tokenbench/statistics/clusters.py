"""From samples to clusters: the unit of every interval and test is the image, not the question.

An image with six questions is one draw from the population of images, so all that follows works on sums per cluster.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Booleans = NDArray[np.bool_]


class Interval(NamedTuple):
    """A lower and an upper limit; NaN where the data allow none."""

    low: float
    """The lower limit."""
    high: float
    """The upper limit."""


class TaskSums(NamedTuple):
    """Scores of one task by cluster."""

    index: Ints  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    """``[G_t]`` positions of the task's clusters among all clusters, each of them once."""
    sizes: Floats
    """``[G_t]`` samples per cluster."""
    sums: Floats
    """``[G_t, M]`` sums of scores of M columns (a cell, or one seed of it)."""

    @property
    def means(self) -> Floats:
        """``[M]`` mean score of each column."""
        return np.asarray(self.sums.sum(axis=0) / self.sizes.sum())


UNKNOWN = Interval(float("nan"), float("nan"))


def cluster_sums(values: ArrayLike, codes: Ints, clusters: int) -> Floats:
    """Sum values by cluster.

    Args:
        values: ``[N]`` or ``[N, K]``, one row per sample.
        codes: ``[N]`` integers in ``0 .. clusters - 1``.
        clusters: Number of clusters G.

    Returns:
        ``[G]`` or ``[G, K]``.
    """
    values = np.asarray(values, dtype=np.float64)
    sums = np.zeros((clusters, *values.shape[1:]))
    np.add.at(sums, codes, values)
    return sums


def influence(sums: Floats, sizes: Floats) -> Floats:
    """Influence of each cluster on a mean over samples: ``(S_g - n_g m) / N``.

    Args:
        sums: ``[G, K]`` sums of the scores.
        sizes: ``[G]`` samples per cluster.

    Returns:
        ``[G, K]``; each column sums to zero.
    """
    total = sizes.sum()
    return np.asarray((sums - np.outer(sizes, sums.sum(axis=0) / total)) / total)


def merge(tasks: Sequence[TaskSums], values: Sequence[Floats], clusters: int) -> Floats:
    """``[G, C]`` values of each cluster, added over the tasks that it occurs in.

    ``values`` are ``[G_t, C]`` by task.
    """
    merged = np.zeros((clusters, values[0].shape[1]))
    for task, value in zip(tasks, values, strict=True):
        merged[task.index] += value  # a task names each of its clusters once
    return merged


def correction(clusters: int) -> float:
    """The CR1 factor ``G / (G - 1)``, NaN for a single cluster, of which no variance is known."""
    return clusters / (clusters - 1) if clusters > 1 else float("nan")
