"""Made-up scores with a known truth, as the statistics take them."""

from __future__ import annotations

import numpy as np

from tokenbench.statistics import Scale, TaskSums, cluster_sums, contrasts


def zipf_sizes(rng, images):
    """One to fifty questions an image, few images with many."""
    weights = np.arange(1, 51) ** -1.8
    return rng.choice(np.arange(1, 51), size=images, p=weights / weights.sum())


def sizes_of(rng, images, questions):
    """Questions of each image; ``zipf`` or a number."""
    return zipf_sizes(rng, images) if questions == "zipf" else np.full(images, questions)


def as_task(scores, sizes, start=0):
    """``[N, M]`` scores of images of these sizes, as one task whose images are counted from ``start``."""
    codes = np.repeat(np.arange(len(sizes)), sizes)
    index = start + np.arange(len(sizes))
    return TaskSums(index, sizes.astype(float), cluster_sums(scores, codes, len(sizes)))


def spoiled(rng, sizes, accuracy, cells, *, flip=0.0, loss=0.0, whole=0.0, partial=False):
    """``[N, 1 + cells]`` vanilla and cells that differ from it.

    Args:
        rng: of all draws.
        sizes: questions of each image.
        accuracy: of vanilla.
        cells: how many.
        flip: share of samples answered anew, with the same accuracy: no true difference.
        loss: share of vanilla's right answers that are lost; one for all cells, or one a cell.
        whole: share of the flips and losses that befall an image as a whole.
        partial: answered anew with partial credit, in tenths.
    """
    codes = np.repeat(np.arange(len(sizes)), sizes)
    shape = (len(codes), cells)

    def struck(rate):
        rate = np.broadcast_to(rate, cells)
        alone = rng.uniform(size=shape) < rate
        together = (rng.uniform(size=(len(sizes), cells)) < rate)[codes]
        of_image = (rng.uniform(size=(len(sizes), cells)) < whole)[codes]
        return np.where(of_image, together, alone)

    right = (rng.uniform(size=(len(codes), 1)) < accuracy).astype(float)
    again = (rng.uniform(size=shape) < accuracy).astype(float)
    if partial:
        right = right * rng.choice([0.3, 0.6, 0.9, 1.0], size=right.shape)
        again = again * rng.choice([0.3, 0.6, 0.9, 1.0], size=shape)
    scores = np.where(struck(flip), again, right)
    return np.hstack([right, np.where(struck(loss), 0.0, scores)])


def differences(tasks, pairs, scale=Scale.RETENTION, cell=None, counted=None, images=None):
    """Contrasts of cells over tasks; ``images`` there are in all, where more may be seen later."""
    cell = np.arange(tasks[0].sums.shape[1]) if cell is None else np.asarray(cell)
    images = images or 1 + max(int(task.index.max()) for task in tasks)
    return contrasts(tasks, cell, pairs, scale, images, counted)


def control(cells):
    """Every cell against vanilla."""
    return [(at, 0) for at in range(1, cells + 1)]


def peers(cells):
    """Every pair of cells, vanilla left aside."""
    return [(a, b) for a in range(1, cells + 1) for b in range(a + 1, cells + 1)]
