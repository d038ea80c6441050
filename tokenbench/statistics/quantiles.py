"""Normal and Student quantiles from ``scipy.special``: the command line starts much faster without ``scipy.stats``."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tokenbench.statistics.clusters import Floats


def normal_critical(tail: float) -> float:
    """The value that a standard normal exceeds with probability ``tail``."""
    return -float(special.ndtri(tail))


def student_critical(tail: ArrayLike, df: ArrayLike) -> Floats:
    """The value that Student's t exceeds with probability ``tail``; normal where ``df`` is infinite, NaN below zero."""
    tail, df = np.asarray(tail, dtype=np.float64), np.asarray(df, dtype=np.float64)
    finite = np.where(np.isfinite(df) & (df > 0), df, 1.0)
    values = np.where(np.isinf(df), -special.ndtri(tail), -special.stdtrit(finite, tail))
    return np.asarray(np.where(df > 0, values, np.nan))


def student_tail(value: ArrayLike, df: ArrayLike) -> Floats:
    """The probability that Student's t exceeds ``value``; ``df`` is finite and positive."""
    return np.asarray(special.stdtr(np.asarray(df, dtype=np.float64), -np.asarray(value, dtype=np.float64)))


def false_discovery(p: ArrayLike) -> Floats:
    """Benjamini and Hochberg's (1995) adjusted p values, in the order given."""
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(-p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum.accumulate(p[order] * len(p) / np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1.0)
