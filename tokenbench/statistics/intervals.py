"""Intervals for a difference: all values that the matching test would not reject."""

from math import sqrt

import numpy as np

from tokenbench.statistics.clusters import UNKNOWN, Floats, Interval
from tokenbench.statistics.quantiles import normal_critical, student_critical


def score_interval(
    estimate: Floats, psi: Floats, shift: Floats, critical: Floats, noise: Floats | float = 0.0
) -> tuple[Floats, Floats]:
    """Invert the sign-flip score test in closed form.

    The limits are the x with ``|estimate - x| = critical * sqrt(||psi + (estimate - x) shift||^2 + noise)``.
    Where there are too few clusters for the test to reject anything the interval is unbounded, here NaN.

    Args:
        estimate: ``[C]``.
        psi: ``[G, C]`` influence values.
        shift: ``[G, C]`` how a shift is laid on the clusters, columns sum to one.
        critical: ``[C]`` critical values.
        noise: ``[C]`` variance that does not come from clusters.

    Returns:
        Lower and upper limits, ``[C]`` each.
    """
    square = np.asarray(critical, dtype=np.float64) ** 2
    cross = square * (psi * shift).sum(axis=0)
    room = 1 - square * (shift**2).sum(axis=0)
    constant = square * ((psi**2).sum(axis=0) + noise)
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(cross**2 + room * constant)
        low, high = estimate - (cross + root) / room, estimate - (cross - root) / room
    bounded = room > 1e-9
    return np.where(bounded, low, np.nan), np.where(bounded, high, np.nan)


def tango_statistic(difference: float, b: float, c: float, n: float) -> float:
    """Score statistic of Tango (1998) for a difference of paired proportions, asymptotically standard normal."""
    scale = 2 * n
    linear = (2 * n - b + c) * difference - b - c
    constant = -c * difference * (1 - difference)
    only_b = (sqrt(max(0.0, linear**2 - 4 * scale * constant)) - linear) / (2 * scale)
    variance = n * (2 * only_b + difference * (1 - difference))
    distance = b - c - n * difference
    if variance <= 1e-15 * n:
        return 0.0 if abs(distance) < 1e-9 * n else float(np.copysign(np.inf, distance))
    return distance / sqrt(variance)


def tango_interval(b: float, c: float, n: float, critical: float) -> Interval:
    """Score interval for ``(b - c) / n`` of Tango (1998); unlike Wald's it does not collapse when b = c = 0.

    Args:
        b: pairs in which only the first is right (a real number once divided by a design effect).
        c: pairs in which only the second is right.
        n: pairs.
        critical: normal or Student critical value.
    """
    if not (n > 0 and np.isfinite(critical)):
        return UNKNOWN
    return Interval(_tango_limit(-1.0, b, c, n, critical), _tango_limit(1.0, b, c, n, critical))


def _tango_limit(end: float, b: float, c: float, n: float, critical: float) -> float:
    """Bisect between the estimate, which is never rejected, and one end of the range."""

    def rejected(x: float) -> bool:
        return abs(tango_statistic(x, b, c, n)) > critical

    if not rejected(end):
        return end
    inside, outside = (b - c) / n, end
    for _ in range(50):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if rejected(middle) else (middle, outside)
    return inside


def detectable(se: Floats, critical: Floats, df: Floats, power: float = 0.8) -> Floats:
    """Smallest true difference found with the given power: ``(critical + t_power) * se``.

    It uses the standard error of the comparison, never its observed difference ("observed power" says nothing new).
    """
    return np.asarray((critical + student_critical(1 - power, df)) * se)


def samples_needed(
    difference: float, variance: float, *, deff: float = 1.0, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Samples for a paired comparison to find ``difference`` (Miller 2024, section 5).

    Args:
        difference: true difference of the mean scores.
        variance: variance of a sample's score difference: for 0/1 scores the share of discordant pairs minus the
            squared difference; with K answers a sample ``w^2 + s_A^2 / K_A + s_B^2 / K_B``.
        deff: design effect of the difference.
        alpha: two-sided level.
        power: wanted power.
    """
    return float((normal_critical(alpha / 2) + normal_critical(1 - power)) ** 2 * variance * deff / difference**2)
