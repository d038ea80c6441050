"""Metrics that are no plain mean: ratios of sums, such as F1, and means over strata, such as MME's total.

Both are smooth in cluster sums, so they are estimates with influence values like any mean and go through the same tests: the
difference of two cells is a contrast of their estimates.
"""

from collections.abc import Sequence
from math import exp, log

import numpy as np

from tokenbench.statistics.clusters import UNKNOWN, Floats, Interval, Ints
from tokenbench.statistics.estimates import Estimates, Part
from tokenbench.statistics.quantiles import student_critical

__all__ = ["f1_score", "logit_interval", "ratio", "stratified_mean"]


def ratio(numerator: Floats, denominator: Floats, sizes: Floats) -> Estimates:
    """Sums over sums, ``[C]``, on one task.

    Args:
        numerator: ``[G, C]`` sums by cluster.
        denominator: ``[G, C]``.
        sizes: ``[G]`` samples per cluster.
    """
    total = denominator.sum(axis=0)
    value = numerator.sum(axis=0) / total
    psi = (numerator - denominator * value) / total
    return Estimates(value, [Part(np.arange(len(sizes)), sizes / sizes.sum(), psi)], len(sizes))


def f1_score(hits: Floats, alarms: Floats, misses: Floats, sizes: Floats) -> Estimates:
    """F1 = 2 TP / (2 TP + FP + FN) of C cells.

    An answer to a "yes" question that is not "yes" is a miss, whatever else it says: lmms-eval counts only a literal "no", so that
    there a model that breaks its format looks better.

    Args:
        hits, alarms, misses: ``[G, C]`` true positives, false positives and false negatives by cluster.
        sizes: ``[G]`` samples per cluster.
    """
    return ratio(2 * hits, 2 * hits + alarms + misses, sizes)


def logit_interval(value: float, se: float, df: float, alpha: float = 0.05) -> Interval:
    """An interval for a ratio in (0, 1) that stays inside: Student's on the logit scale."""
    if not (0 < value < 1 and np.isfinite(se)):
        return UNKNOWN
    middle = log(value / (1 - value))
    half = float(student_critical(alpha / 2, df)) * se / (value * (1 - value))
    return Interval(1 / (1 + exp(half - middle)), 1 / (1 + exp(-half - middle)))


def stratified_mean(
    scores: Sequence[Floats], codes: Sequence[Ints], weights: Sequence[float], clusters: int
) -> Estimates:
    """Weighted sum over strata of the mean over samples, ``[C]``: every stratum is a part with a variance of its own.

    A cluster that occurs in several strata is one cluster. MME's total: one sample an image, weights 100 or 1; macro averages:
    weights one over the number of strata.

    Args:
        scores: by stratum, ``[N_k, C]``.
        codes: by stratum, ``[N_k]`` cluster of each sample, counted over all strata.
        weights: by stratum.
        clusters: number of clusters over all strata.
    """
    value, parts = 0.0, []
    for own, where, weight in zip(scores, codes, weights, strict=True):
        index, local = np.unique(where, return_inverse=True)
        sums = np.zeros((len(index), own.shape[1]))
        mean = own.mean(axis=0)
        np.add.at(sums, local, own - mean)
        value = value + weight * mean
        parts.append(Part(index, np.bincount(local) / len(own), weight * sums / len(own)))
    return Estimates(np.asarray(value), parts, clusters)
