"""Comparisons on single tasks: exploratory, each with the interval that its own test inverts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tokenbench.comparison.measures import Measures
from tokenbench.statistics import (
    Contrasts,
    Critical,
    Flips,
    Pairing,
    Scale,
    averaging,
    detectable,
    flips,
    limits,
    statistic,
)
from tokenbench.statistics.clusters import Floats, Ints
from tokenbench.statistics.quantiles import normal_critical


@dataclass(frozen=True)
class TaskTests:
    """C comparisons on one task, by exact sign flips of its images.

    Attributes:
        position: of the task.
        pairs: the two cells of each.
        scores: the differences in score.
        flips: how statistics are distributed when there is no difference; comparisons share them.
        which: ``[C]`` the distribution of each.
        p: ``[C]`` two-sided, unadjusted.
    """

    position: int
    pairs: Sequence[Pairing]
    scores: Contrasts
    flips: Sequence[Flips]
    which: Ints
    p: Floats

    def limits(self, found: Contrasts, level: float) -> tuple[Floats, Floats]:
        """``[C]`` limits of the same differences, on this or another scale, that exclude 0 where ``p <= level``."""
        return limits(found, self._critical(level), self.p <= level)

    def detectable(self, level: float) -> Floats:
        """``[C]`` smallest difference in score found with power 80 %."""
        return detectable(self.scores, self._critical(level).normal)

    def _critical(self, level: float) -> Critical:
        critical = np.array([flip.critical(level) for flip in self.flips])
        return Critical(critical[self.which], np.full(len(self.which), normal_critical(level / 2)))


def task_tests(measures: Measures, position: int, pairs: Sequence[Pairing], resamples: int, seed: int) -> TaskTests:
    """Test pairs of cells on one task."""
    panel = measures.panel
    scores = measures.on_task(position, pairs, Scale.SCORE)
    sums = panel.sums[position].sums @ averaging(panel.cell)
    a, b = np.array(pairs).T
    found, which = flips(sums[:, a] - sums[:, b], resamples=resamples, seed=seed)
    reached, p = np.abs(statistic(scores)), np.empty(len(pairs))
    for at, flip in enumerate(found):
        p[which == at] = flip.reach(reached[which == at])
    return TaskTests(position, pairs, scores, found, which, p)
