"""The score of one cell with its interval: the cell against one that is always right, and against one that is always wrong.

Both are differences of two cells on the same images, so the limits are those of every other difference (``tilt``), with Student's
critical value on as many images as there are of even size: the images are all that is known of how scores vary.
"""

from collections.abc import Sequence

import numpy as np

from tokenbench.statistics.clusters import Floats, Ints, TaskSums, cluster_sums, correction, influence, merge
from tokenbench.statistics.contrasts import Scale, contrasts, image_sizes
from tokenbench.statistics.quantiles import student_critical
from tokenbench.statistics.seeds import averaging_matrix, seed_spread
from tokenbench.statistics.tilt import tilted_limits


def score_intervals(
    tasks: Sequence[TaskSums], cell: Ints, images: int, counted: Floats | None = None, alpha: float = 0.05
) -> tuple[Floats, Floats, Floats]:
    """Mean over tasks of the mean score of K cells, with pointwise limits in [0, 1].

    Args:
        tasks: Sums by image, one column per cell and seed.
        cell: ``[M]`` cell of each column.
        images: Number G of images over all tasks.
        counted: ``[K]`` whether the seeds of a cell may move all samples together; all of them by default.
        alpha: One minus the coverage.

    Returns:
        Means, lower and upper limits, ``[K]`` each; limits are NaN for a single image.
    """
    average, unit = averaging_matrix(cell), 1 / len(tasks)
    columns = np.array([task.means for task in tasks]).mean(axis=0)
    spread = merge(tasks, [unit * influence(task.sums, task.sizes) for task in tasks], images)
    value, own = columns @ average, spread @ average
    holds = merge(tasks, [unit * task.sizes[:, None] / task.sizes.sum() for task in tasks], images)[:, 0]
    even = holds.sum() ** 2 / (holds**2).sum()
    if even - 1 < 1e-9 or min(len(task.index) for task in tasks) < 2:
        unknown = np.full(len(value), np.nan)
        return value, unknown, unknown
    critical = np.full(len(value), float(student_critical(alpha / 2, even - 1)))
    excess = seed_spread(columns, spread, cell, counted).excess(critical[:, None]).diagonal()
    # An image that is partly right pays as much against a cell that is always right as against one that is always wrong.
    right = [unit * (task.sums @ average) / task.sizes.sum() for task in tasks]
    sizes = image_sizes(tasks, np.full(len(tasks), unit), right, images)
    low, high = tilted_limits(value, own, critical, sizes.unseen(critical))
    low, high = value - np.sqrt((value - low) ** 2 + excess), value + np.sqrt((high - value) ** 2 + excess)
    return value, np.maximum(low, 0.0), np.minimum(high, 1.0)


def change_interval(
    task: TaskSums, cell: Ints, images: int, counted: Floats, alpha: float = 0.05
) -> tuple[float, float, float]:
    """Mean difference in score of cell 1 minus cell 0 on any samples, with pointwise limits.

    The limits are those of a score: tilted, with Student's critical value on as many images as there are of even size. No verdict is
    read off them.

    Args:
        task: Sums by image, one column per cell and seed.
        cell: ``[M]`` cell of each column, 0 or 1.
        images: Number G of images that ``task.index`` refers to.
        counted: ``[2]`` whether the seeds of a cell may move all samples together.
        alpha: One minus the coverage.

    Returns:
        The difference with its limits in [-1, 1], which are NaN for a single image of even size.
    """
    found = contrasts([task], cell, [(1, 0)], Scale.SCORE, images, counted)
    value, count = float(found.value[0]), task.sizes.sum() ** 2 / (task.sizes**2).sum()
    if count - 1 < 1e-9:
        return value, float("nan"), float("nan")
    critical = np.array([float(student_critical(alpha / 2, count - 1))])
    low, high = tilted_limits(found.value, found.influence, critical, found.sizes.unseen(critical))
    spread = np.sqrt(found.excess(critical)) if found.seeded else np.zeros(1)
    below, above = np.hypot(value - low, spread), np.hypot(high - value, spread)
    return value, max(float(value - below[0]), -1.0), min(float(value + above[0]), 1.0)


def design_effect(scores: Floats, codes: Ints) -> float:
    """Variance of a mean by images over its variance by samples; NaN where the scores do not vary.

    Args:
        scores: ``[N]``.
        codes: ``[N]`` image of each sample, any integers.
    """
    _, local = np.unique(codes, return_inverse=True)
    n, images = len(scores), int(local.max()) + 1
    naive = float(np.var(scores, ddof=1) / n) if n > 1 else 0.0
    psi = influence(cluster_sums(scores, local, images)[:, None], np.bincount(local).astype(np.float64))
    return correction(images) * float((psi**2).sum()) / naive if naive > 0 else float("nan")
