"""How the error is spent over looks, so that looking while the data grow stays valid (Lan and DeMets 1983)."""

from collections.abc import Callable
from math import exp, log, nextafter, sqrt

from scipy import special

from tokenbench.statistics.quantiles import normal_critical

TIE = 1e-9
"""Errors that differ by less are the same."""

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


def total_error(spending: Spending, look: int, share: float, spent: float, alpha: float) -> float:
    """Return the smallest total error that lets a look reject what it finds with the error `spent`.

    It is the p of this look over all looks: at most alpha exactly where `spent` is at most what may be spent of alpha.

    Args:
        spending: The error that may be spent up to and including a look.
        look: The look, counted from 0. It is the first one.
        share: How much of the images that may be seen at most it has seen.
        spent: The smallest error at which the look rejects, in (0, 1].
        alpha: The total error.
    """
    if spending(look, share, spent) >= spent:  # everything is spent at once
        return spent
    if spending(look, share, 1.0) <= spent:
        return 1.0
    from scipy import optimize  # a tenth of a second that only such looks need

    total = float(optimize.brentq(lambda error: spending(look, share, error) - spent, spent, 1.0, xtol=1e-15))
    rejects = spent <= spending(look, share, alpha) + TIE
    return min(total, alpha) if rejects else max(total, nextafter(alpha, 1.0))


SPENDING: dict[str, Spending] = {"obrien-fleming": obrien_fleming, "pocock": pocock, "counted": open_ended}
