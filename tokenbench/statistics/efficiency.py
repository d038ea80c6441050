"""Speed: the unit of replication is the launch of a process, not the timing within it.

Timings of one launch share its clocks, its memory layout and its neighbours; tests that count them find differences in 35 to 71 % of
cases where there is none. So a round times every strategy once, in a fresh process and random order, and rounds are compared.
"""

from math import exp, isnan
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tokenbench.statistics.clusters import UNKNOWN, Floats, Interval
from tokenbench.statistics.quantiles import student_critical, student_tail

__all__ = ["FEWEST_ROUNDS", "LogRatio", "Speed", "holm", "log_ratio", "speed_ratio"]

FEWEST_ROUNDS = 5
"""Fewer rounds than this say nothing; eight are better."""


class LogRatio(NamedTuple):
    """Mean over R rounds of the logarithm of a ratio, its standard error (NaN from one round), and R."""

    mean: float
    se: float
    rounds: int

    def interval(self, alpha: float) -> Interval:
        """Of the ratio itself: Student's on the logarithms; unknown from one round."""
        if isnan(self.se):
            return UNKNOWN
        half = float(student_critical(alpha / 2, self.rounds - 1)) * self.se
        return Interval(exp(self.mean - half), exp(self.mean + half))


def log_ratio(a: ArrayLike, b: ArrayLike) -> LogRatio:
    """Of two ``[R]`` positive latencies, one number a round each, in the same rounds."""
    logs = np.log(np.asarray(a, dtype=np.float64)) - np.log(np.asarray(b, dtype=np.float64))
    se = float(logs.std(ddof=1) / np.sqrt(len(logs))) if len(logs) > 1 else float("nan")
    return LogRatio(float(logs.mean()), se, len(logs))


class Speed(NamedTuple):
    """Geometric mean of a ratio of latencies, its 95 % interval, the two-sided p of no difference, and the rounds."""

    ratio: float
    interval: Interval
    p: float
    rounds: int


def speed_ratio(a: ArrayLike, b: ArrayLike, alpha: float = 0.05) -> Speed:
    """Latency of a over that of b, from paired rounds; below one, a is faster.

    Args:
        a: ``[R]`` one number a round: the median latency of the launch, or its mean for throughput.
        b: ``[R]`` of the other strategy in the same rounds.
        alpha: one minus the coverage.

    Raises:
        ValueError: fewer than ``FEWEST_ROUNDS`` rounds, or a latency that is not positive.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if len(first) != len(second) or len(first) < FEWEST_ROUNDS:
        raise ValueError(
            f"a ratio needs the same {FEWEST_ROUNDS} rounds or more of both, not {len(first)} and {len(second)}"
        )
    if not ((first > 0) & (second > 0)).all():
        raise ValueError("latencies must be positive")
    found = log_ratio(first, second)
    if found.se == 0:
        return Speed(exp(found.mean), UNKNOWN, float("nan"), found.rounds)
    p = float(2 * student_tail(abs(found.mean) / found.se, found.rounds - 1))
    return Speed(exp(found.mean), found.interval(alpha), p, found.rounds)


def holm(p: ArrayLike) -> Floats:
    """Holm's (1979) adjusted p values, in the order given."""
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted
