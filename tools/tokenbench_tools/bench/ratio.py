"""Ratios of times, and from where on they are a gain.

The unit of replication is the launch of a process, not the timing within it: timings of one launch share its clocks,
its memory layout and its neighbours, and tests that count them find differences in 35 to 71 % of cases where there is
none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import exp, log
from typing import Any

import numpy as np

from tokenbench.statistics.quantiles import student_critical

__all__ = ["BreakEven", "Ratio", "break_even", "ratio"]

ALPHA = 0.05


@dataclass(frozen=True)
class Ratio:
    """A time as a multiple of the stock model's, with its 95 % interval. Below 1 is faster."""

    estimate: float
    """The geometric mean over launches."""
    low: float | None
    """Lower limit of the interval; None if there was one launch only."""
    high: float | None
    """Upper limit of the interval; None if there was one launch only."""

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.estimate:.3f}"
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"


def ratio(times: Sequence[float], stock: Sequence[float]) -> Ratio:
    """Compare the times of two ways.

    Args:
        times: Seconds of a way, one number for each launch.
        stock: Seconds of the stock model in the same launches.

    Returns:
        The geometric mean of the ratios, with Student's interval on the logarithms.
    """
    logs = np.log(np.asarray(times, dtype=np.float64)) - np.log(np.asarray(stock, dtype=np.float64))
    mean, launches = float(logs.mean()), len(logs)
    if launches == 1:
        return Ratio(exp(mean), None, None)
    half = float(student_critical(ALPHA / 2, launches - 1)) * float(logs.std(ddof=1) / np.sqrt(launches))
    return Ratio(exp(mean), exp(mean - half), exp(mean + half))


@dataclass(frozen=True)
class BreakEven:
    """The number of visual tokens above which a way's first token comes earlier than the stock model's."""

    visual: float
    """About how many visual tokens that is."""
    bound: str
    """`at most` if the way is already faster on the shortest prompt measured, `about` if the number lies between two
    lengths, `above` if the way is not faster on the longest."""

    def to_json(self) -> dict[str, Any]:
        """Return the number and its bound as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.bound} {self.visual:.0f}"


def break_even(ratios: Sequence[tuple[int, float]]) -> BreakEven:
    """Interpolate the length at which a ratio of times falls below 1.

    Args:
        ratios: (visual tokens, ratio) of prompts of several lengths. Between neighbours a straight line is drawn, both
            axes being logarithmic.
    """
    ordered = sorted(ratios)
    if ordered[0][1] < 1:
        return BreakEven(ordered[0][0], "at most")
    for (few, slower), (many, faster) in pairwise(ordered):
        if faster < 1:
            share = log(slower) / (log(slower) - log(faster))
            return BreakEven(exp(log(few) + share * (log(many) - log(few))), "about")
    return BreakEven(ordered[-1][0], "above")
