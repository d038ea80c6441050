"""Stochastic strategies: the scores of a cell are averages over its seeds, and a seed may move all samples together.

Noise drawn anew for every sample is part of the variance between images already. One mask for a whole run is not: what
it adds shows in the spread between seeds alone, on as many degrees of freedom as there are seeds less one. That spread
enters an interval by the method of variance estimates recovery (Zou and Donner 2008), with neither a pre-test nor a
truncated difference of variances.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from tokenbench.statistics.clusters import Floats, Ints
from tokenbench.statistics.quantiles import student_critical

CONTRADICTED = 0.001
"""Chance that all seeds of an honest declaration look as if they moved the samples together."""


def averaging_matrix(cell: Ints) -> Floats:
    """``[M, K]`` matrix that averages the columns of each cell."""
    matrix = np.zeros((len(cell), int(cell.max()) + 1))
    matrix[np.arange(len(cell)), cell] = 1.0
    return np.asarray(matrix / matrix.sum(axis=0))


@dataclass(frozen=True)
class SeedSpread:
    """How much the choice of the seeds moves K averages over R seeds each."""

    between: Floats
    """``[K]`` variance between the seeds' own estimates, over R; zero for a single seed."""
    interaction: Floats
    """``[K]`` the part of it that is noise of the images, over R."""
    df: Floats
    """``[K]`` degrees of freedom, R - 1."""
    counted: Floats
    """``[K]`` whether a seed of the cell may move all samples together; elsewhere its noise is part of the images'
    already."""

    def excess(self, critical: Floats) -> Floats:
        """What each average adds to the square of a half width at a normal critical value.

        ``[C, 1]`` gives ``[C, K]``.
        """
        seeded = self.df > 0
        student = np.where(seeded, student_critical(special.ndtr(-critical), np.where(seeded, self.df, 1.0)), 0.0)
        return np.asarray(self.counted * np.maximum(0.0, student**2 * self.between - critical**2 * self.interaction))

    @property
    def contradicted(self) -> Floats:
        """``[K]`` whether the seeds differ by more than samples drawn one by one can explain, though they are not counted."""
        several = np.maximum(self.df, 1.0)
        limit = special.chdtri(several, CONTRADICTED / max(1, int((self.df > 0).sum()))) / several
        return np.asarray(
            ~self.counted.astype(bool) & (self.df > 0) & (self.between > limit * self.interaction + 1e-18)
        )


def seed_spread(values: Floats, influence: Floats, cell: Ints, counted: Floats | None = None) -> SeedSpread:
    """Compare the columns of each cell.

    Args:
        values: ``[M]`` estimates, one per cell and seed.
        influence: ``[G, M]`` their influence values.
        cell: ``[M]`` cell of each column.
        counted: ``[K]`` whether the seeds of a cell may move all samples together; all of them by default.
    """
    average = averaging_matrix(cell)
    count = np.bincount(cell).astype(np.float64)
    residual = np.eye(len(cell)) - average @ (average > 0).T
    same, df = (average > 0).astype(np.float64), count - 1
    several = np.where(df > 0, df, 1.0) * count
    return SeedSpread(
        between=(values @ residual) ** 2 @ same / several,
        interaction=((influence @ residual) ** 2).sum(axis=0) @ same / several,
        df=df,
        counted=np.ones(len(df)) if counted is None else counted,
    )
