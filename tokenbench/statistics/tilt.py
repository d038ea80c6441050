"""The variance of a difference at any value it might truly have, and the limits that follow from it.

Where few images differ the observed variance says too little: lost answers come as a Poisson process does, and images
that were not seen may lose what none of those seen lost. The *tilted* variance at a value x is that of the observed
influences reweighted so that their mean is x (the restricted likelihood of a compound Poisson sum). For single answers
its limits are the score interval of a Poisson rate and nearly Tango's (1998); for clusters, partial credit and several
tasks it is the same formula, at every count, without a switch.
"""

from dataclasses import dataclass

import numpy as np

from tokenbench.statistics.clusters import Floats

PAID = 0.5
"""How fast discordance of single answers pays for whole images that may flip unseen: the half of it. One is the fastest
at which limits stay monotone; zero assumes nothing and is wide. A convention, with its costs in docs/simulations.md."""
_STEPS = 60
_HELD = 2**15
"""Influences that are solved for at a time: they stay in the cache."""


@dataclass(frozen=True)
class Sizes:
    """How far one image can move each of C differences, in the unit of the differences."""

    whole: Floats
    """``[P]`` the effect of one whole image of even size: of each task, then of all tasks merged."""
    paid: Floats
    """``[P, C]`` the discordance of images that did not change as a whole, in the same order."""
    answer: float
    """The effect of one answer of even size."""
    least: float
    """The effect of one answer of the task where it counts most."""

    def unseen(self, critical: Floats) -> Floats:
        """``[C]`` what an image that was not seen may move, at ``[C]`` normal critical values."""
        open_ = self.whole[:, None] - PAID * self.paid / critical**2
        return np.asarray(np.maximum(self.least, open_.max(axis=0)))


def tilted_limits(value: Floats, influence: Floats, critical: Floats, unseen: Floats | float) -> tuple[Floats, Floats]:
    """Compute the limits ``value - critical^2 / a`` and ``value + critical^2 / a``.

    ``a`` solves ``sum a^2 e^2 / (1 + a e) = critical^2`` below, with ``1 - a e`` above, and is at most one over the
    size of the largest image, seen or not.

    Args:
        value: ``[C]`` differences.
        influence: ``[G, C]`` influence values e of the images.
        critical: ``[C]`` normal critical values.
        unseen: ``[C]`` size of an image that was not seen.

    Returns:
        Lower and upper limits, ``[C]`` each.
    """
    return (
        value - _reach(_outward(influence, -1.0), critical, unseen),
        value + _reach(_outward(influence, 1.0), critical, unseen),
    )


def tilted_statistic(value: Floats, influence: Floats, null: float, unseen: Floats | float) -> Floats:
    """``[C]`` signed root of the restricted likelihood ratio at ``null``.

    Beyond a critical value exactly where its limits are.
    """
    distance = np.abs(value - null)
    outward = _outward(influence, np.where(value > null, -1.0, 1.0))
    tilts = _solve(outward, distance, 1.0, _caps(outward, unseen))
    return np.asarray(np.sign(value - null) * np.sqrt(tilts * distance))


def _reach(outward: Floats, critical: Floats, unseen: Floats | float) -> Floats:
    """``[C]`` how far the limit lies from the estimate; ``outward`` is ``[C, G]``, positive on the limit's side."""
    return np.asarray(critical**2 / _solve(outward, critical**2, 2.0, _caps(outward, unseen)))


def _outward(influence: Floats, side: Floats | float) -> Floats:
    return np.ascontiguousarray((influence * side).T)  # a row a difference


def _caps(outward: Floats, unseen: Floats | float) -> Floats:
    """``[C]`` the largest image, seen or not."""
    return np.asarray(np.maximum(np.maximum(outward.max(axis=1, initial=0.0), unseen), 1e-150))


def _solve(outward: Floats, goal: Floats, power: float, caps: Floats) -> Floats:
    """``[C]`` the a in (0, 1 / cap] with ``a^power sum e^2 / (1 - a e) = goal``, or 1 / cap where the sum stays below it.

    Images that move nothing are left out, so that differences moved by equally many images are solved together: what is
    found of one does not depend on the others, to the last bit.
    """
    moving = outward != 0
    counts = moving.sum(axis=1)
    found = np.empty(len(outward))
    for count in np.unique(counts):
        same = np.flatnonzero(counts == count)
        step = max(1, _HELD // max(1, count))
        for rows in (same[start : start + step] for start in range(0, len(same), step)):
            e = outward[rows][moving[rows]].reshape(len(rows), count)
            found[rows] = _tilts(e, goal[rows], power, 1 / caps[rows])
    return found


def _tilts(e: Floats, goal: Floats, power: float, most: Floats) -> Floats:
    """``[C]`` the solutions for ``[C, n]`` influences, none of them zero, at most ``[C]``.

    The left side increases and is convex, so that Newton's steps converge; one that leaves the bracket is replaced by
    its middle.
    """
    found = most.copy()
    with np.errstate(divide="ignore"):
        open_ = np.flatnonzero(~(_power(most, power) * (e * e / (1 - most[:, None] * e)).sum(axis=1) <= goal))
    e, goal, low, high = e[open_], goal[open_], np.zeros(len(open_)), most[open_]
    square = e * e
    a = np.minimum(_power(goal / square.sum(axis=1), 1 / power), high / 2)
    for _ in range(_STEPS):
        rest = 1 / (1 - a[:, None] * e)
        variance = (square * rest).sum(axis=1)
        slope = _power(a, power - 1) * (power * variance + a * (square * e * rest * rest).sum(axis=1))
        over = _power(a, power) * variance - goal
        low, high = np.where(over > 0, low, a), np.where(over > 0, a, high)
        with np.errstate(divide="ignore", invalid="ignore"):  # a slope of nothing but rounding: the middle it is
            step = a - over / slope
        following = np.where((low < step) & (step < high), step, (low + high) / 2)
        going = np.abs(following - a) > 1e-14 * a
        found[open_] = np.where(going, following, a)
        if not going.any():
            break
        a = following
        if not going.all():
            open_, a, low, high, goal, e, square = (one[going] for one in (open_, a, low, high, goal, e, square))
    return found


def _power(values: Floats, power: float) -> Floats:
    return np.array([value**power for value in values.tolist()])
