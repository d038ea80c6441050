"""Stochastic strategies: average over seeds, and say how much the choice of the seeds adds.

Noise drawn anew for every sample is part of the variance between clusters already. A seed that shifts all samples
together (one mask for a whole run) is not, so it is estimated from the spread between seeds beyond what the
cluster x seed interaction explains (two-way variance; Owen and Eckles 2012).
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from tokenbench.statistics.clusters import Floats, Ints
from tokenbench.statistics.estimates import Estimates


class SeedEffect(NamedTuple):
    """What the seeds of K cells add to the variance of their seed averages.

    Attributes:
        variance: ``[K]`` zero for a cell with one seed.
        df: ``[K]`` number of seeds minus one.
        marked: ``[K]`` whether the seeds differ by more than chance allows (1 %).
    """

    variance: Floats
    df: Floats
    marked: np.ndarray


def averaging(cell: Ints) -> Floats:
    """``[M, K]`` weights that average M columns (one per cell and seed) to K cells."""
    weights = np.zeros((len(cell), int(cell.max()) + 1))
    weights[np.arange(len(cell)), cell] = 1.0
    return np.asarray(weights / weights.sum(axis=0), dtype=np.float64)


def seed_effect(columns: Estimates, cell: Ints) -> SeedEffect:
    """Variance ``max(0, S2 - V) / R`` of each cell's average over its R seeds.

    S2 is the variance between the seeds' estimates, V the part of it that is cluster x seed interaction.

    Args:
        columns: M estimates, one per cell and seed, without noise.
        cell: ``[M]`` cell of each column.
    """
    weights = averaging(cell)
    seeds = np.bincount(cell).astype(np.float64)
    freedom = np.maximum(seeds - 1, 1.0)
    same = (weights > 0).astype(np.float64)
    residual = columns.contrast(np.eye(len(cell)) - weights @ same.T)
    between = (residual.value**2) @ same / freedom
    within = residual.sampling_variance @ same / freedom
    limit = special.chdtri(freedom, 0.01) / freedom
    variance = np.where(seeds > 1, np.maximum(0.0, between - within) / seeds, 0.0)
    return SeedEffect(variance, seeds - 1, (seeds > 1) & (between > limit * within + 1e-18))


def average_seeds(columns: Estimates, cell: Ints) -> Estimates:
    """Estimates of the K cells from their M columns, with the seeds' variance as independent noise."""
    cells, effect = columns.contrast(averaging(cell)), seed_effect(columns, cell)
    sources = np.flatnonzero(effect.variance > 0)
    noise = np.zeros((len(sources), len(effect.variance)))
    noise[np.arange(len(sources)), sources] = np.sqrt(effect.variance[sources])
    return Estimates(cells.value, cells.parts, cells.clusters, noise, effect.df[sources])
