"""Made-up scores as the statistics take them."""

import numpy as np

from tokenbench.statistics import Scale, TaskSums, cluster_sums, contrasts

Z = 1.959963984540054


def as_task(scores, codes):
    """One task of ``[N, M]`` scores."""
    index, local = np.unique(codes, return_inverse=True)
    return TaskSums(index, np.bincount(local).astype(float), cluster_sums(scores, local, len(index)))


def against_first(tasks, scale=Scale.SCORE, cell=None, counted=None):
    """Every cell against the first, over tasks."""
    cell = np.arange(tasks[0].sums.shape[1]) if cell is None else np.asarray(cell)
    images = 1 + max(int(task.index.max()) for task in tasks)
    return contrasts(tasks, cell, [(at, 0) for at in range(1, cell.max() + 1)], scale, images, counted)


def losses(images, questions, lost, each=1, cells=1):
    """Vanilla right everywhere; the other cells lose ``each`` answers on each of ``lost`` images."""
    sums = np.full((images, 1 + cells), float(questions))
    sums[:lost, 1:] -= each
    return [TaskSums(np.arange(images), np.full(images, float(questions)), sums)]
