"""Ratios of times, and from where on they are a gain.

The unit of replication is the launch of a process, not the timing within it: timings of one launch share its clocks,
its memory layout and its neighbours, and tests that count them find differences in 35 to 71 % of cases where there is
none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
    """The number of visual tokens, or of clients, above which a way is shown to be faster than the stock model."""

    visual: float
    """About how many that is."""
    bound: str
    """`at most` if nothing below it is shown to be slower, `about` if it lies between a number at which the way is shown to be slower and
    the next one, at which it is shown to be faster, `above` if the way is shown to be slower at the largest number measured."""

    def to_json(self) -> dict[str, Any]:
        """Return the number and its bound as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.bound} {self.visual:.0f}"


def break_even(ratios: Sequence[tuple[int, Ratio]]) -> BreakEven | None:
    """Find from where on a ratio of times is shown to be below 1.

    Only intervals that exclude 1 count. Between a number at which the way is slower and the next one, at which it is faster, a straight line
    is drawn through the estimates, both axes being logarithmic.

    Args:
        ratios: (visual tokens or clients, ratio of times) of several measurements.

    Returns:
        The number; None if the intervals show none.
    """
    ordered = sorted(ratios, key=lambda pair: pair[0])
    slower = [i for i, (_, found) in enumerate(ordered) if found.low is not None and found.low > 1]
    after = slower[-1] + 1 if slower else 0
    faster = [i for i, (_, found) in enumerate(ordered) if found.high is not None and found.high < 1 and i >= after]
    if not faster:
        return BreakEven(ordered[-1][0], "above") if after == len(ordered) else None
    (many, gain), first = ordered[faster[0]], faster[0]
    if first == 0 or first != after:
        return BreakEven(many, "at most")
    few, loss = ordered[first - 1]
    share = log(loss.estimate) / (log(loss.estimate) - log(gain.estimate))
    return BreakEven(exp(log(few) + share * (log(many) - log(few))), "about")
