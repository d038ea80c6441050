"""The variance of a difference at any value it might truly have, and the limits that follow from it.

Where few images differ the observed variance says too little: lost answers come as a Poisson process does, and images that were not
seen may lose what none of those seen lost. The *tilted* variance at a value x is that of the observed influences reweighted so that
their mean is x (the restricted likelihood of a compound Poisson sum). For single answers its limits are the score interval of a Poisson
rate and nearly Tango's (1998); for clusters, partial credit and several tasks it is the same formula, at every count, without a switch.
"""

from dataclasses import dataclass

import numpy as np

from tokenbench.statistics.clusters import Floats

PAID = 0.5
"""How fast discordance of single answers pays for whole images that may flip unseen: the half of it. One is the fastest at which limits
stay monotone; zero assumes nothing and is wide. A convention, with its costs in docs/simulations.md."""
_STEPS = 60


@dataclass(frozen=True)
class Sizes:
    """How far one image can move each of C differences; all in the unit of the difference.

    Attributes:
        whole: ``[P]`` one whole image of even size: of each task, then of all tasks merged.
        paid: ``[P, C]`` discordance of images that did not change as a whole, in the same order.
        answer: one answer of even size.
        least: one answer of the task where it counts most.
    """

    whole: Floats
    paid: Floats
    answer: float
    least: float

    def unseen(self, critical: Floats) -> Floats:
        """``[C]`` what an image that was not seen may move, at ``[C]`` normal critical values."""
        open_ = self.whole[:, None] - PAID * self.paid / critical**2
        return np.asarray(np.maximum(self.least, open_.max(axis=0)))


def tilted_limits(value: Floats, influence: Floats, critical: Floats, unseen: Floats | float) -> tuple[Floats, Floats]:
    """Lower and upper limits ``value - critical^2 / a``, ``value + critical^2 / a``.

    ``a`` solves ``sum a^2 e^2 / (1 + a e) = critical^2`` below, with ``1 - a e`` above, and is at most one over the size of the largest
    image, seen or not.

    Args:
        value: ``[C]``.
        influence: ``[G, C]`` influence values e of the images.
        critical: ``[C]`` normal critical values.
        unseen: ``[C]`` size of an image that was not seen.

    Returns:
        ``[C]`` each.
    """
    return (
        value - _reach(_outward(influence, -1.0), critical, unseen),
        value + _reach(_outward(influence, 1.0), critical, unseen),
    )


def tilted_statistic(value: Floats, influence: Floats, null: float, unseen: Floats | float) -> Floats:
    """``[C]`` signed root of the restricted likelihood ratio at ``null``; beyond a critical value exactly where its limits are."""
    distance = np.abs(value - null)
    outward = _outward(influence, np.where(value > null, -1.0, 1.0))
    tilts = [_solve(e, gap, 1.0, cap) for e, gap, cap in zip(outward, distance, _caps(outward, unseen), strict=True)]
    return np.asarray(np.sign(value - null) * np.sqrt(np.array(tilts) * distance))


def _reach(outward: Floats, critical: Floats, unseen: Floats | float) -> Floats:
    """``[C]`` how far the limit lies from the estimate; ``outward`` is ``[C, G]``, positive on the limit's side."""
    caps = _caps(outward, unseen)
    tilts = [_solve(e, goal, 2.0, cap) for e, goal, cap in zip(outward, critical**2, caps, strict=True)]
    return np.asarray(critical**2 / np.array(tilts))


def _outward(influence: Floats, side: Floats | float) -> Floats:
    return np.ascontiguousarray((influence * side).T)  # a row a difference: each is solved by itself, in the cache


def _caps(outward: Floats, unseen: Floats | float) -> Floats:
    """``[C]`` the largest image, seen or not."""
    return np.asarray(np.maximum(np.maximum(outward.max(axis=1, initial=0.0), unseen), 1e-150))


def _solve(e: Floats, goal: float, power: float, cap: float) -> float:
    """The a in (0, 1 / cap] with ``a^power sum e^2 / (1 - a e) = goal``, or 1 / cap where the sum stays below it.

    The left side increases and is convex, so that Newton's steps converge; one that leaves the bracket is replaced by its middle.
    """
    e = e[e != 0]
    low, high = 0.0, 1 / cap
    square = e * e
    with np.errstate(divide="ignore"):
        if high**power * float((square / (1 - high * e)).sum()) <= goal:
            return high
    a = min(float((goal / square.sum()) ** (1 / power)), high / 2)
    for _ in range(_STEPS):
        rest = 1 / (1 - a * e)
        variance = float((square * rest).sum())
        slope = a ** (power - 1) * (power * variance + a * float((square * e * rest * rest).sum()))
        over = a**power * variance - goal
        low, high = (low, a) if over > 0 else (a, high)
        step = a - over / slope
        following = step if low < step < high else (low + high) / 2
        if abs(following - a) <= 1e-14 * a:
            break
        a = following
    return a
