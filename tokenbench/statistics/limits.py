"""One interval a comparison: the values that neither the sign flips nor the tilted variance rejects.

Every word of a report is read off this interval, and it holds 0 exactly where the test of no difference does not
reject.
"""

from typing import NamedTuple

import numpy as np

from tokenbench.statistics.clusters import Booleans, Floats
from tokenbench.statistics.contrasts import Contrasts
from tokenbench.statistics.quantiles import normal_critical
from tokenbench.statistics.tilt import tilted_limits

POWER = 0.8
_BEYOND = 1e-6
"""A rejected 0 lies this share of one answer outside the interval at least."""


class Critical(NamedTuple):
    """Critical values of C comparisons."""

    flips: Floats
    """``[C]`` values for the sign flips."""
    normal: Floats
    """``[C]`` values for normal statistics that are correlated as the differences are; never below the values for sign
    flips."""


def score_limits(value: Floats, influence: Floats, shift: Floats, critical: Floats) -> tuple[Floats, Floats]:
    """Invert the sign-flip score test in closed form.

    The limits are the x with ``|value - x| = critical * ||influence + (value - x) shift||``. If there are too few
    images for the test to reject anything, the interval is unbounded, here NaN.

    Args:
        value: ``[C]`` differences.
        influence: ``[G, C]`` influence values of the images.
        shift: ``[G, C]`` how a shift of the difference is laid on the images; columns sum to one.
        critical: ``[C]`` critical values.

    Returns:
        Lower and upper limits, ``[C]`` each.
    """
    square = critical**2
    cross = square * (influence * shift).sum(axis=0)
    room = 1 - square * (shift**2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(cross**2 + room * square * (influence**2).sum(axis=0))
        low, high = value - (cross + root) / room, value - (cross - root) / room
    bounded = room > 1e-9
    return np.where(bounded, low, np.nan), np.where(bounded, high, np.nan)


def limits(found: Contrasts, critical: Critical, rejected: Booleans) -> tuple[Floats, Floats]:
    """Compute the limits of C differences.

    Away from 0 a limit is the wider of those by flips and by tilt. Towards 0 the interval holds 0 unless the test of no
    difference rejects it; then no unseen image larger than one answer is allowed for, since the level of the flips is
    exact at 0.

    Args:
        found: The differences.
        critical: Their critical values.
        rejected: ``[C]`` whether the sign flips reject no difference.

    Returns:
        Lower and upper limits, ``[C]`` each; NaN if there are too few images.
    """
    flips, normal = np.maximum(critical.flips, critical.normal), critical.normal
    flipped = _with_seeds(found, score_limits(found.value, found.influence, found.shift, flips), flips)
    tilted = tilted_limits(found.value, found.influence, normal, found.sizes.unseen(normal))
    cautious, plain = (_with_seeds(found, pair, normal) for pair in (tilted, _without_unseen(found, normal, rejected)))
    low, high = np.minimum(flipped[0], cautious[0]), np.maximum(flipped[1], cautious[1])
    beyond = _BEYOND * found.sizes.least
    facing_low = np.where(rejected, np.maximum(beyond, np.minimum(flipped[0], plain[0])), np.minimum(low, 0.0))
    facing_high = np.where(rejected, np.minimum(-beyond, np.maximum(flipped[1], plain[1])), np.maximum(high, 0.0))
    low = np.where(found.value >= 0, facing_low, low)
    high = np.where(found.value <= 0, facing_high, high)
    unbounded = np.isnan(flipped[0])
    return (
        np.where(unbounded, np.nan, np.maximum(low, found.lowest)),
        np.where(unbounded, np.nan, np.minimum(high, found.highest)),
    )


def _without_unseen(found: Contrasts, normal: Floats, wanted: Booleans) -> tuple[Floats, Floats]:
    """Tilted limits that allow for no unseen image larger than one answer; NaN where they are not wanted."""
    low, high = np.full((2, len(found.value)), np.nan)
    low[wanted], high[wanted] = tilted_limits(
        found.value[wanted], found.influence[:, wanted], normal[wanted], found.sizes.least
    )
    return low, high


def _with_seeds(found: Contrasts, pair: tuple[Floats, Floats], critical: Floats) -> tuple[Floats, Floats]:
    if not found.seeded:
        return pair
    excess = found.excess(critical)
    return (
        found.value - np.sqrt((found.value - pair[0]) ** 2 + excess),
        found.value + np.sqrt((pair[1] - found.value) ** 2 + excess),
    )


def statistic(found: Contrasts) -> Floats:
    """``[C]`` the critical value at which the sign-flip interval, with what the seeds add, would reach 0.

    It has the sign of the value.
    """
    norm = null_norm(found)
    value = np.abs(found.value)
    plain = np.divide(value, norm, out=np.zeros_like(value), where=norm > 0)
    if not found.seeded:
        return np.copysign(plain, found.value)
    low, high = np.zeros_like(plain), plain.copy()
    for _ in range(60):
        middle = (low + high) / 2
        within = middle**2 * norm**2 + found.excess(middle) <= value**2
        low, high = np.where(within, middle, low), np.where(within, high, middle)
    return np.copysign(low, found.value)


def null_norm(found: Contrasts) -> Floats:
    """``[C]`` norm of the influences with the null imposed; zero where nothing but rounding is left."""
    norm = np.sqrt(((found.influence + found.value * found.shift) ** 2).sum(axis=0))
    return np.where(norm > 1e-9 * (found.sizes.least + np.abs(found.value)), norm, 0.0)


def detectable(found: Contrasts, normal: Floats) -> Floats:
    """``[C]`` smallest true difference that the comparison finds with power 80 %; by counts where few images differ.

    It uses what the images show of the spread, never the observed difference ("observed power" says nothing new).
    """
    factor = normal + normal_critical(1 - POWER)
    spread = (found.influence**2).sum(axis=0)
    size = np.divide(spread, found.moved, out=np.zeros_like(spread), where=found.moved > 0)
    half = np.maximum(factor * np.sqrt(spread), factor**2 * np.maximum(size, found.sizes.answer))
    if not found.seeded:
        return np.asarray(half)
    return np.asarray(np.sqrt(half**2 + found.excess(normal) * (factor / normal) ** 2))


def smallest_margin(found: Contrasts, normal: Floats) -> Floats:
    """``[C]`` smallest margin within which a strategy without any difference could have been shown non-inferior on these images."""
    spread = (found.influence**2).sum(axis=0)
    half = np.maximum(normal**2 * found.sizes.unseen(normal), normal * np.sqrt(spread))
    return np.sqrt(half**2 + found.excess(normal)) if found.seeded else np.asarray(half)
