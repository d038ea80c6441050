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
    averaging_matrix,
    detectable,
    flips,
    limits,
    statistic,
)
from tokenbench.statistics.clusters import Floats, Ints
from tokenbench.statistics.quantiles import normal_critical


@dataclass(frozen=True)
class TaskTests:
    """C comparisons on one task, by exact sign flips of its images."""

    position: int
    """Position of the task among those of the panel."""
    pairs: Sequence[Pairing]
    """Positions of the two cells of each comparison."""
    scores: Contrasts
    """The differences in score."""
    flips: Sequence[Flips]
    """How the statistics are distributed if there is no difference; comparisons may share a distribution."""
    which: Ints
    """``[C]`` the position of each comparison's distribution."""
    p: Floats
    """``[C]`` two-sided p, unadjusted."""

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
    sums = panel.sums[position].sums @ averaging_matrix(panel.cell)
    a, b = np.array(pairs).T
    found, which = flips(sums[:, a] - sums[:, b], resamples=resamples, seed=seed)
    reached, p = np.abs(statistic(scores)), np.empty(len(pairs))
    for at, flip in enumerate(found):
        p[which == at] = flip.reach(reached[which == at])
    return TaskTests(position, pairs, scores, found, which, p)
