"""How the error is spent over looks, so that looking while the data grow stays valid (Lan and DeMets 1983)."""

from collections.abc import Callable
from math import exp, log, sqrt

from scipy import special

from tokenbench.statistics.quantiles import normal_critical

Spending = Callable[[int, float, float], float]
"""Of the look (counted from 0), the share of all images seen at it, and the total error: what may be spent up to and
including it."""


def spend_all(look: int, share: float, alpha: float) -> float:
    """Everything at once: one look."""
    return alpha


def obrien_fleming(look: int, share: float, alpha: float) -> float:
    """Little early, nearly everything at the end; like the bounds of O'Brien and Fleming (1979)."""
    return float(2 * special.ndtr(-normal_critical(alpha / 2) / sqrt(min(share, 1.0))))


def pocock(look: int, share: float, alpha: float) -> float:
    """Evenly; like the bounds of Pocock (1977)."""
    return alpha * log(1 + (exp(1) - 1) * min(share, 1.0))


def open_ended(look: int, share: float, alpha: float) -> float:
    """No maximum was declared: the j-th look brings the total to alpha j / (j + 1), however far the data grow."""
    return alpha * (look + 1) / (look + 2)


SPENDING: dict[str, Spending] = {"obrien-fleming": obrien_fleming, "pocock": pocock, "counted": open_ended}
