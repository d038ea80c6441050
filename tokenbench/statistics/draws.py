"""Numbers for simulated counts: the same for any number of samples, so that power grows smoothly with it."""

from __future__ import annotations

from functools import cache
from math import ceil, floor, sqrt

import numpy as np
from scipy import special

from tokenbench.statistics.clusters import Floats

__all__ = ["DRAWS", "poisson", "uniform_draws"]

DRAWS = 2000
"""How many times each count is drawn."""
NORMAL = 1e4
"""Poisson means from which the normal distribution with its skewness is exact to less than one count."""


@cache
def uniform_draws(rows: int) -> Floats:
    """Draw a Latin hypercube ``[rows, DRAWS]``, the same one every time.

    Each row is spread evenly over (0, 1), which makes a simulated power far smoother than independent draws would.
    """
    rng = np.random.default_rng(0)
    strata = np.argsort(rng.uniform(size=(rows, DRAWS)), axis=1)
    return np.asarray((strata + rng.uniform(size=strata.shape)) / DRAWS)


def poisson(uniform: Floats, mean: float) -> Floats:
    """Turn uniform numbers into quantiles of the Poisson distribution."""
    if mean > NORMAL:
        z = special.ndtri(uniform)
        return np.asarray(np.round(mean + sqrt(mean) * z + (z**2 - 1) / 6))
    reach = 9 * sqrt(mean) + 12
    counts = np.arange(max(0, floor(mean - reach)), ceil(mean + reach) + 1)
    return np.asarray(counts[np.searchsorted(special.pdtr(counts[:-1], mean), uniform)], dtype=np.float64)
