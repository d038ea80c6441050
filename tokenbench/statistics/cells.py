"""The score of one cell with its interval.

The interval is Wilson's on the effective sample size (Franco et al. 2019), with Student's critical value because the
variance is estimated from clusters; near 0 and 1 it is Korn and Graubard's (1998) form of Clopper and Pearson's.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import special

from tokenbench.statistics.clusters import UNKNOWN, Floats, Interval, Ints, cluster_sums, correction, influence
from tokenbench.statistics.quantiles import student_critical

FEW = 10
"""Fewer expected successes or errors than this call for the exact form of an interval."""


def wilson(mean: float, n: float, critical: float) -> Interval:
    """Wilson's score interval for a proportion; ``n`` may be any positive real (an effective sample size)."""
    square = critical**2
    middle = (mean + square / (2 * n)) / (1 + square / n)
    half = critical / (1 + square / n) * sqrt(mean * (1 - mean) / n + square / (4 * n**2))
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def clopper_pearson(mean: float, n: float, alpha: float = 0.05) -> Interval:
    """Clopper and Pearson's interval for a proportion; ``n`` may be any positive real."""
    successes, errors = mean * n, (1 - mean) * n
    low = float(special.betaincinv(successes, errors + 1, alpha / 2)) if successes > 0 else 0.0
    high = float(special.betaincinv(successes + 1, errors, 1 - alpha / 2)) if errors > 0 else 1.0
    return Interval(low, high)


def bounded_interval(mean: float, se: float, df: float, n: int, clusters: int, alpha: float = 0.05) -> Interval:
    """Interval for a mean of scores in [0, 1] whose standard error is ``se`` on ``df`` degrees of freedom.

    The effective sample size is ``N / deff``; it makes the interval of unclustered 0/1 scores plain Wilson.
    Where the scores do not vary at all it is the number of clusters.
    """
    if clusters < 2 or not (np.isfinite(se) and df > 0):
        return UNKNOWN
    spread = mean * (1 - mean)
    n_eff = spread / se**2 * n / (n - 1) if se > 0 and spread > 0 else float(clusters)
    critical, naive = student_critical(alpha / 2, [df, n - 1]).tolist()
    if min(mean, 1 - mean) * n_eff < FEW:
        return clopper_pearson(mean, n_eff * (naive / critical) ** 2 if np.isfinite(df) else n_eff, alpha)
    return wilson(mean, n_eff, critical)


@dataclass(frozen=True)
class CellMean:
    """Mean score of one cell on one task.

    Attributes:
        mean: mean over the samples.
        se: standard error by clusters (CR1), with the variance between seeds where there is any.
        df: degrees of freedom; infinite when every cluster is one sample.
        deff: design effect, variance by clusters over variance by samples.
        interval: 95 % interval in [0, 1].
    """

    mean: float
    se: float
    df: float
    deff: float
    n: int
    clusters: int
    interval: Interval


def cell_mean(
    scores: Floats, codes: Ints, *, noise: float = 0.0, noise_df: float = np.inf, alpha: float = 0.05
) -> CellMean:
    """Mean of scores in [0, 1] with a clustered interval.

    Args:
        scores: ``[N]`` (averaged over seeds where a strategy has several).
        codes: ``[N]`` cluster of each sample, any integers.
        noise: variance of the mean that comes from the choice of seeds (see ``seeds``).
        noise_df: its degrees of freedom.
        alpha: one minus the coverage.
    """
    _, local = np.unique(codes, return_inverse=True)
    n, clusters = len(scores), int(local.max()) + 1
    sizes = np.bincount(local).astype(np.float64)
    psi = influence(cluster_sums(scores, local, clusters)[:, None], sizes)
    naive = float(np.var(scores, ddof=1) / n) if n > 1 else float("nan")
    clustered = correction(clusters) * float((psi**2).sum())
    # A design effect below one is luck, not precision: images do not make their questions more unlike.
    sampling = max(clustered, naive)
    variance = sampling + noise
    df = float(clusters - 1) if clusters < n else np.inf
    if noise > 0:
        df = variance**2 / (sampling**2 / df + noise**2 / noise_df)
    mean, se = float(np.mean(scores)), sqrt(variance) if variance >= 0 else float("nan")
    deff = clustered / naive if naive > 0 else float("nan")
    return CellMean(mean, se, df, deff, n, clusters, bounded_interval(mean, se, df, n, clusters, alpha))
