"""Weights of samples whose task averages parts of it separately."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tokenbench.statistics.clusters import Floats

__all__ = ["WITHIN", "stratum_weights"]

WITHIN = " > "
"""Between the name of a stratum and that of one within it."""


def stratum_weights(names: "Sequence[str] | np.ndarray[Any, Any]") -> Floats:
    """Return the weights with which the mean of weighted scores is a mean over strata.

    Strata have equal weight, and so have the strata within one. `direction > easy` and `direction > hard` together have the weight of `count`.

    Args:
        names: ``[N]`` the stratum of every sample; all the same if there are none.

    Returns:
        ``[N]`` weights with the mean 1.
    """
    distinct, place, sizes = np.unique(
        np.asarray(names, dtype=object).astype(str), return_inverse=True, return_counts=True
    )
    paths = [tuple(name.split(WITHIN)) for name in distinct]
    prefixes = {path[:depth] for path in paths for depth in range(len(path) + 1)}
    children = {prefix: sum(other[:-1] == prefix for other in prefixes if other) for prefix in prefixes}
    shares = [np.prod([1 / children[path[:depth]] for depth in range(len(path))]) for path in paths]
    return np.asarray((len(place) * np.array(shares) / sizes)[place], dtype=np.float64)
