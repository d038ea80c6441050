"""What is estimated from a panel: scores and retention of every cell, by task and over the tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tokenbench.comparison.panel import Panel
from tokenbench.statistics import CellMean, Estimates, average_seeds, cell_mean, mean_score, retention, seed_effect
from tokenbench.statistics.cells import FEW
from tokenbench.statistics.clusters import Floats, Ints

NEAR_ZERO = 0.05
"""A ratio to a vanilla score whose lower limit is not above this means nothing."""
DIFFERENT = 1e-9
"""Averages over seeds may differ in the last bit only; that is not a difference."""


@dataclass(frozen=True)
class TaskMeasures:
    """One task: K cells, vanilla first.

    Attributes:
        name: of the task.
        means: the cells' scores with intervals, in [0, 1].
        score: the same as estimates, for contrasts.
        retention: in per cent; None where vanilla's score is too near zero.
    """

    name: str
    means: list[CellMean]
    score: Estimates
    retention: Estimates | None


@dataclass(frozen=True)
class Measures:
    """All tasks of one model.

    Attributes:
        panel: the scores behind it.
        tasks: one per task of the panel.
        score: mean score over all tasks, in [0, 1].
        retention: mean over the tasks whose vanilla score is safely above zero, in per cent; None if there is none.
        marked: cells whose seeds differ by more than chance.
        alpha: one minus the coverage of the intervals.
    """

    panel: Panel
    tasks: list[TaskMeasures]
    score: Estimates
    retention: Estimates | None
    marked: list[int]
    alpha: float

    @property
    def safe(self) -> list[int]:
        """Positions of the tasks that have a retention."""
        return [at for at, task in enumerate(self.tasks) if task.retention is not None]

    def differences(self, a: int, b: int, positions: Sequence[int]) -> Floats:
        """``[N]`` score of cell a minus score of cell b, sample by sample, over the tasks at these positions."""
        scores = [self.panel.averages[at][:, a] - self.panel.averages[at][:, b] for at in positions]
        found = np.concatenate([np.zeros(0), *scores])
        return np.where(np.abs(found) > DIFFERENT, found, 0.0)

    def discordant(self, a: int, b: int, positions: Sequence[int]) -> int:
        """Number of clusters in which two cells differ on any sample of these tasks."""
        codes = np.concatenate([np.zeros(0, dtype=np.int64), *(self.panel.tasks[at].codes for at in positions)])
        return int(np.count_nonzero(np.bincount(codes[self.differences(a, b, positions) != 0])))

    def floor(self, a: int, b: int, positions: Sequence[int]) -> float:
        """Variance to add to a contrast of retention: with few discordant clusters none may be seen by luck.

        Four pseudo-discordances in each task (Agresti and Min 2005) make the interval of two cells without any
        difference about as wide as Tango's, so that agreement on a handful of images never looks like equivalence.
        Several models see the same images, so their pseudo-discordances are taken as perfectly dependent.
        """
        if self.discordant(a, b, positions) >= FEW:
            return 0.0
        vanilla = [self.tasks[at].means[0] for at in positions]
        return self.panel.models * sum((200 / cell.mean / cell.clusters) ** 2 for cell in vanilla) / len(vanilla) ** 2


def measure(panel: Panel, alpha: float) -> Measures:
    """Estimate all cells of a panel."""
    vanilla = (panel.cell == 0) / (panel.cell == 0).sum()
    sums = [task.sums for task in panel.tasks]
    tasks = []
    for task, own, scores in zip(panel.tasks, sums, panel.averages, strict=True):
        score = average_seeds(mean_score([own]), panel.cell)
        spread = (scores - score.value) * task.weights[:, None] + score.value  # the scores, without strata
        means = [_cell_mean(score, spread, task.codes, at, alpha) for at in range(len(panel.cells))]
        safe = means[0].interval.low > NEAR_ZERO
        ratio = average_seeds(retention([own], vanilla), panel.cell) if safe else None
        tasks.append(TaskMeasures(task.name, means, score, ratio))
    safely = [own for own, task in zip(sums, tasks, strict=True) if task.retention is not None]
    overall = mean_score(sums)
    return Measures(
        panel=panel,
        tasks=tasks,
        score=average_seeds(overall, panel.cell),
        retention=average_seeds(retention(safely, vanilla), panel.cell) if safely else None,
        marked=np.flatnonzero(seed_effect(overall, panel.cell).marked).tolist(),
        alpha=alpha,
    )


def _cell_mean(score: Estimates, scores: Floats, codes: Ints, at: int, alpha: float) -> CellMean:
    noise, noise_df = noise_of(score, at)
    return cell_mean(scores[:, at], codes, noise=noise, noise_df=noise_df, alpha=alpha)


def noise_of(estimates: Estimates, at: int) -> tuple[float, float]:
    """Variance between seeds of one estimate, and its Satterthwaite degrees of freedom."""
    noise = float(estimates.noise_variance[at])
    limited = float((estimates.noise[:, at] ** 4 / estimates.noise_df).sum())
    return noise, noise**2 / limited if limited > 0 else float("inf")
