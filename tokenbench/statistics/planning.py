"""How many samples a verdict takes: the probability that the report's own interval reaches it, by simulated counts.

A normal formula is too optimistic where it matters most: few samples differ near the ceiling, tasks are of unequal
size, and an interval allows for whole images that were lost unseen. So the counts are drawn, and each draw is judged as
a report judges:

* Task t of T with ``N_t`` of the n samples, vanilla's score ``m_t``, discordance ``d_t`` and design effect ``f_t`` shows
  ``Poisson(N_t g_t / f_t)`` gains and ``Poisson(N_t l_t / f_t)`` losses, with ``g_t + l_t = d_t`` and
  ``g_t - l_t = difference * m_t / 100``.
* Each moves retention by ``s_t = k_t f_t / N_t`` points, ``k_t = 100 / (T m_t)``: a difference whose variance is f times
  that of single samples is made of f times fewer, f times larger steps.
* A lower limit is above ``-margin`` if ``a = c^2 / (estimate + margin)`` is below ``1 / cap`` and ``a^2 V(a) < c^2``,
  where ``V(a) = sum e^2 / (1 + a e)`` is the variance of the steps e restricted to that limit (losses count more, gains
  less), and ``cap`` is the largest loss of one image, seen or allowed for. The sign-flip limit has to be above
  ``-margin`` as well.
* A difference is shown if ``estimate^2 > c^2 sum e^2``, on as many discordant images as a sign-flip test needs at least.

Strategies are taken to have no seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, inf, log2, log10, sqrt

import numpy as np
from scipy import special

from tokenbench.statistics.clusters import Floats, Ints, cluster_sums, correction
from tokenbench.statistics.draws import poisson, uniform_draws
from tokenbench.statistics.quantiles import normal_critical
from tokenbench.statistics.tilt import PAID

POWER = 0.8
CRITICAL = normal_critical(0.025)
NEAR_ZERO = 0.05
"""Vanilla's score up to which its ratios mean nothing."""
FINE = 1.004
"""The ratio to which a number of samples is searched."""


@dataclass(frozen=True)
class TaskDesign:
    """What a plan assumes about one task."""

    share: float = 1.0
    """The size of the task, on any scale that is common to all tasks."""
    discordance: float = 0.18
    """Mean squared difference of the two scores of a sample (times its weight in the task); for scores of 0 and 1 the
    share of samples on which they differ."""
    deff: float = 1.3
    """Design effect of the difference, at least 1: how many times its variance grows because questions share images."""
    score: float = 0.7
    """Vanilla's mean score, in (0, 1]."""
    questions: float = 2.0
    """Samples that an image has, ``sum n_g^2 / N``; never less than the design effect."""
    overlap: float = 1.0
    """How many times as many samples an image has over all tasks as on this one, since it occurs in others, too."""

    def __post_init__(self) -> None:
        if not (self.share > 0 and self.discordance >= 0 and self.deff >= 1 and 0 < self.score <= 1):
            raise ValueError(f"a task cannot be like this: {self}")


def measure_design(difference: Floats, codes: Ints, vanilla: float) -> TaskDesign:
    """Measure the design of a task on samples.

    Half a sample is added to those on which the two cells differ, since seeing none among a few does not mean that
    there are none.

    Args:
        difference: ``[N]`` difference of the two scores of each sample, times its weight in the task.
        codes: ``[N]`` image of each sample.
        vanilla: Vanilla's mean score.
    """
    number = len(difference)
    _, images, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    centred = difference - difference.mean()
    alone = correction(number) * float((centred**2).sum())
    clustered = correction(len(sizes)) * float((cluster_sums(centred, images, len(sizes)) ** 2).sum())
    return TaskDesign(
        share=number,
        discordance=(float((difference**2).sum()) + 0.5) / (number + 1),
        deff=max(1.0, clustered / alone) if alone > 0 and len(sizes) > 1 else 1.0,
        score=max(vanilla, 0.5 / number),
        questions=float((sizes.astype(np.float64) ** 2).sum()) / number,
    )


def power(
    samples: float,
    tasks: Sequence[TaskDesign],
    *,
    margin: float | None = None,
    difference: float = 0.0,
    critical: float = CRITICAL,
) -> float:
    """Compute the probability of a verdict.

    Args:
        samples: The number of samples over all tasks, divided among them by their shares.
        tasks: The tasks, at least one.
        margin: The verdict is that a loss of that many points of accuracy kept is ruled out ("non-inferior" or better).
            None: the verdict is that there is a difference ("better" or "worse", whichever is true).
        difference: The true difference, in points of accuracy kept on every task.
        critical: Critical value of the interval: normal for one comparison, ``family_critical`` for one of several.
    """
    return _Draws(tasks, difference).power(samples, margin, critical)


def samples_for(
    tasks: Sequence[TaskDesign],
    *,
    margin: float | None = None,
    difference: float = 0.0,
    critical: float = CRITICAL,
    wanted: float = POWER,
) -> int:
    """Compute the number of samples, over all tasks, with which a verdict is reached with the wanted power.

    The arguments are those of ``power``.

    Raises:
        ValueError: If no number suffices, which is so for a difference of 0 or a true loss of the margin.
    """
    distance = abs(difference) if margin is None else difference + margin
    if not distance > 0:
        raise ValueError("there is nothing to show")
    draws = _Draws(tasks, difference)

    def reached(samples: float) -> bool:
        return draws.power(samples, margin, critical) >= wanted

    # The normal formula, as a place to begin.
    low = high = max(1.0, ((critical + normal_critical(1 - wanted)) * draws.sd(1.0) / distance) ** 2)
    while reached(low) and low >= 1:
        low, high = low / 1.5, low
    while not reached(high):
        low, high = high, high * 1.5
    while high > max(FINE * low, low + 0.5):
        middle = sqrt(low * high)
        low, high = (low, middle) if reached(middle) else (middle, high)
    return ceil(high)


def detectable_difference(samples: float, tasks: Sequence[TaskDesign], critical: float = CRITICAL) -> float:
    """The smallest loss found with a power of 80 %, in points of accuracy kept.

    It is infinite if not even the loss of all answers would be found.
    """
    return _smallest(lambda points: power(samples, tasks, difference=-points, critical=critical))


def provable_margin(samples: float, tasks: Sequence[TaskDesign], critical: float = CRITICAL) -> float:
    """The smallest margin a strategy without any loss is shown to keep with a power of 80 %.

    Infinite above 100 points.
    """
    draws = _Draws(tasks, 0.0)
    return _smallest(lambda points: draws.power(samples, points, critical))


def rules_out(
    margin: float,
    step: Floats,
    gains: Floats,
    losses: Floats,
    critical: float,
    unseen: Floats | float,
    spread: float = 0.0,
) -> Floats:
    """Decide whether the tilted lower limit and that of the sign flips are both above ``-margin``.

    Args:
        margin: The margin, in the unit of the steps.
        step: ``[T]`` how much one gain or loss counts on each task.
        gains: ``[T, ...]`` counts of gains, of any further shape.
        losses: ``[T, ...]`` counts of losses, of the same shape.
        critical: Critical value of the limit.
        unseen: The largest loss by an image that was not seen.
        spread: ``sum h_g^2`` of the shift that a sign-flip test lays on the images: one over their number if all are of
            one size.
    """
    step = step.reshape(-1, *[1] * (gains.ndim - 1))
    if critical**2 * spread >= 1:  # too few images for any limit
        return np.zeros(gains.shape[1:], dtype=bool)
    room = (step * (gains - losses)).sum(axis=0) + margin
    cap = np.maximum((step * (losses > 0)).max(axis=0), unseen)
    # The limit is the estimate less critical^2 / a, where a solves a^2 V(a) = critical^2 and is at most 1 / cap.
    possible = room > critical**2 * cap
    a = critical**2 / np.where(possible, room, np.inf)
    tilted = (step**2 * (losses / (1 - a * step) + gains / (1 + a * step))).sum(axis=0)
    flipped = critical * np.sqrt((step**2 * (gains + losses)).sum(axis=0) / (1 - critical**2 * spread))
    return np.asarray(possible & (a**2 * tilted < critical**2) & (room > flipped))


def half_width(samples: float, tasks: Sequence[TaskDesign], critical: float = CRITICAL) -> float:
    """Expected half of the interval of a difference, in points of accuracy kept: never less than what images not seen may hide."""
    draws = _Draws(tasks, 0.0)
    return max(critical * draws.sd(samples), critical**2 * draws.unseen(samples, critical))


def family_critical(comparisons: int, alpha: float = 0.05) -> float:
    """Bonferroni's critical value: at least that of the max-T family, which knows how its comparisons go together."""
    return normal_critical(alpha / 2 / max(1, comparisons))


def round_up(samples: float) -> int:
    """Round up to two significant digits, since a planned number is not known more precisely."""
    unit = int(10 ** max(0, floor(log10(max(samples, 1))) - 1))
    return ceil(samples / unit) * unit


def _smallest(reaches: Callable[[float], float]) -> float:
    low, high = 1e-4, 100.0
    if reaches(high) < POWER:
        return inf
    while high > FINE * low:
        middle = sqrt(low * high)
        low, high = (low, middle) if reaches(middle) >= POWER else (middle, high)
        low, high = min(low, high), max(low, high)
    return high


class _Draws:
    """Counts of gains and losses; the same uniform numbers for any number of samples, so that power grows smoothly."""

    def __init__(self, tasks: Sequence[TaskDesign], difference: float) -> None:
        def column(name: str) -> Floats:
            return np.array([float(getattr(task, name)) for task in tasks])

        self._share = column("share") / column("share").sum()
        score = column("score")
        # As reports do: where vanilla is near zero on a task, the mean score is compared with vanilla's.
        self._weight = 100 / (np.full_like(score, score.sum()) if score.min() <= NEAR_ZERO else len(tasks) * score)
        self._overlap = column("overlap")
        self._deff, self._questions = column("deff"), np.maximum(column("questions"), column("deff"))
        net = difference * score / 100
        self._rate = np.maximum(column("discordance"), np.abs(net))
        self._gain, self._loss = (self._rate + net) / 2, (self._rate - net) / 2
        self._uniform = uniform_draws(2 * len(tasks))

    def sd(self, samples: float) -> float:
        """Standard error of the difference, in points."""
        return sqrt(float((self._weight**2 * self._rate * self._deff / self._share).sum()) / samples)

    def power(self, samples: float, margin: float | None, critical: float) -> float:
        number = samples * self._share
        step = self._weight * self._deff / number
        gains, losses = (
            np.stack([poisson(u, mean) for u, mean in zip(uniform, number * rate / self._deff, strict=True)])
            for uniform, rate in zip(np.split(self._uniform, 2), (self._gain, self._loss), strict=True)
        )  # [T, DRAWS] each
        estimate, square = step @ (gains - losses), step**2 @ (gains + losses)
        if margin is None:
            sign = np.sign((self._gain - self._loss).sum())
            enough = (gains + losses).sum(axis=0) >= 1 + log2(1 / (2 * special.ndtr(-critical)))
            return float((enough & (sign * estimate > critical * np.sqrt(square))).mean())
        unseen = self._unseen(number, step, gains + losses, critical)
        return float(rules_out(margin, step, gains, losses, critical, unseen, self._spread(number, step)).mean())

    def unseen(self, samples: float, critical: float) -> float:
        """Compute what ``_unseen`` does if as many samples differ as expected."""
        number = samples * self._share
        counts = number * self._rate / self._deff
        return float(self._unseen(number, self._weight * self._deff / number, counts[:, None], critical)[0])

    def _unseen(self, number: Floats, step: Floats, counts: Floats, critical: float) -> Floats:
        """``[DRAWS]`` the loss by one whole image that none was seen to have, in points.

        What single samples showed pays it off.
        """
        whole = self._weight * self._questions / number
        paid = (step * (1 - self._deff / self._questions))[:, None] * counts
        merged = float((self._weight * whole * self._overlap).sum() / self._weight.sum())
        pay = PAID / critical**2
        by_task = (whole[:, None] - pay * paid).max(axis=0)
        answer = float((self._weight / number).max())
        return np.asarray(np.maximum(np.maximum(by_task, merged - pay * paid.sum(axis=0)), answer))

    def _spread(self, number: Floats, step: Floats) -> float:
        """``sum h_g^2`` of the shift that the sign-flip test lays on the images: tasks by their share of the variance."""
        variance = step**2 * number * np.maximum(self._rate, 1e-12) / self._deff
        return float(((variance / variance.sum()) ** 2 * self._questions / number).sum())
