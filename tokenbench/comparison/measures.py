"""What is estimated from a panel: the scores of every cell, and the scale on which cells are compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import special

from tokenbench.comparison.panel import Panel
from tokenbench.statistics import Contrasts, Pairing, Scale, TaskSums, contrasts, design_effect, score_intervals
from tokenbench.statistics.clusters import Floats, Ints

ALPHA = 0.05
NEAR_ZERO = 0.05
"""A ratio to a vanilla score whose lower limit is not above this means nothing."""
DIFFERENT = 1e-9
"""Averages over seeds may differ in the last bit only; that is not a difference."""
_HELD = 2**18
"""Differences of single scores that are looked at at a time."""


@dataclass(frozen=True)
class Scores:
    """Scores of K cells with pointwise limits, ``[K]`` each, in [0, 1]."""

    value: Floats
    """``[K]`` mean scores."""
    low: Floats
    """``[K]`` lower limits."""
    high: Floats
    """``[K]`` upper limits."""


@dataclass(frozen=True)
class TaskMeasures:
    """What is estimated on one task for K cells, vanilla first."""

    name: str
    """The name of the task."""
    scores: Scores
    """The scores of the cells."""
    deff: Floats
    """``[K]`` design effects."""
    samples: int
    """How many samples there are."""
    images: int
    """How many images there are."""
    safe: bool
    """Whether vanilla's score is far enough above zero for a ratio to it."""


class Differing(NamedTuple):
    """What is scored differently in C pairs of cells, ``[C]`` counts."""

    clusters: Ints
    """Clusters with any sample on which the two cells differ."""
    more: Ints
    """Samples on which the first cell scores higher."""
    less: Ints
    """Samples on which it scores lower."""


@dataclass(frozen=True)
class Measures:
    """All tasks of one model."""

    panel: Panel
    """The scores behind it."""
    tasks: list[TaskMeasures]
    """One per task of the panel."""
    score: Scores
    """Mean score over all tasks."""
    scale: Scale | None
    """The scale of retention over all tasks. If vanilla is near zero on any task, the whole table shows the ratio of
    the means, so that what is compared does not depend on which tasks vanilla was seen to fail on. None if vanilla
    is near zero on all of them."""
    alpha: float
    """One minus the coverage of the intervals."""

    @property
    def single(self) -> list[str]:
        """Tasks with a single image, of which no variance is known."""
        return [task.name for task in self.tasks if task.images < 2]

    @property
    def near_zero(self) -> list[str]:
        """Tasks on which vanilla is near zero."""
        return [task.name for task in self.tasks if not task.safe]

    @cached_property
    def contradicted(self) -> list[int]:
        """Cells that are declared to draw anew for every sample, but whose seeds move the samples together."""
        return np.flatnonzero(self.headline([(0, 0)], Scale.SCORE).seeds.contradicted).tolist()

    def headline(self, pairs: Sequence[Pairing], scale: Scale) -> Contrasts:
        """Differences of cells over all tasks."""
        panel = self.panel
        return contrasts(panel.sums, panel.cell, pairs, scale, len(panel.clusters), panel.shared)

    def on_task(self, position: int, pairs: Sequence[Pairing], scale: Scale) -> Contrasts:
        """Differences of cells on one task."""
        panel = self.panel
        return contrasts([panel.sums[position]], panel.cell, pairs, scale, len(panel.clusters), panel.shared)

    def differing(self, pairs: Sequence[Pairing], positions: Sequence[int]) -> Differing:
        """Count, for each pair, what was scored differently on the tasks at these positions."""
        most = max((len(self.panel.tasks[at].codes) for at in positions), default=0)
        step = max(1, _HELD // max(1, most))
        parts = [self._differing(pairs[start : start + step], positions) for start in range(0, len(pairs), step)]
        return Differing(*(np.concatenate(counts) for counts in zip(*parts, strict=True)))

    def _differing(self, pairs: Sequence[Pairing], positions: Sequence[int]) -> Differing:
        a, b = np.array(pairs).T
        more, less = np.zeros((2, len(pairs)), dtype=np.int64)
        moved = np.zeros((len(self.panel.clusters), len(pairs)), dtype=bool)
        for at in positions:
            scores, [codes, order, starts] = self.panel.averages[at], self.panel.tasks[at].grouped
            found = scores[:, a] - scores[:, b]
            above, below = found > DIFFERENT, found < -DIFFERENT
            more += above.sum(axis=0)
            less += below.sum(axis=0)
            moved[codes] |= np.logical_or.reduceat((above | below)[order], starts, axis=0)
        return Differing(moved.sum(axis=0), more, less)


def measure(panel: Panel, alpha: float) -> Measures:
    """Estimate all cells of a panel."""
    tasks = []
    for task, own, scores in zip(panel.tasks, panel.sums, panel.averages, strict=True):
        found = Scores(*score_intervals([own], panel.cell, len(panel.clusters), panel.shared, alpha))
        spread = (scores - found.value) * task.weights[:, None] + found.value  # the scores, without strata
        deff = np.array([design_effect(spread[:, at], task.codes) for at in range(len(panel.cells))])
        safe = _surely_above(NEAR_ZERO, float(found.value[0]), even_clusters(own.sizes))
        tasks.append(TaskMeasures(task.name, found, deff, len(task.codes), len(own.index), safe))
    score = Scores(*score_intervals(panel.sums, panel.cell, len(panel.clusters), panel.shared, alpha))
    return Measures(panel, tasks, score, _scale(tasks, score, panel.sums), alpha)


def _scale(tasks: Sequence[TaskMeasures], score: Scores, sums: Sequence[TaskSums]) -> Scale | None:
    if all(task.safe for task in tasks):
        return Scale.RETENTION
    far = _surely_above(NEAR_ZERO, float(score.value[0]), max(even_clusters(own.sizes) for own in sums))
    return Scale.RETENTION_OF_MEAN if far else None


def _surely_above(bound: float, mean: float, images: float) -> bool:
    """Whether Clopper and Pearson's lower limit of a mean score, on so many images of even size, is above a bound."""
    right = mean * images
    return right > 0 and float(special.betaincinv(right, images - right + 1, ALPHA / 2)) > bound


def even_clusters(sizes: Floats) -> float:
    """How many clusters of even size say as much: ``N^2 / sum n_g^2``.

    One image with most of the questions counts for all.
    """
    return float(sizes.sum() ** 2 / (sizes**2).sum())
