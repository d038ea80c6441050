"""One test for a family of comparisons: sign flips of whole images with the null imposed, and the maximum over the family.

Every comparison sees the same random signs, so their dependence is kept, and p and intervals hold for the whole family (max-T, single
step: Westfall and Young 1993; sign changes with few clusters: Canay, Santos and Shaikh 2021). With a control as the common partner it is
a paired, clustered Dunnett test. A family may be looked at several times while its data grow: an image keeps its signs, and the error
that each look may spend is given (Lan and DeMets 1983). Intervals of all looks hold together, so that stopping by any rule is allowed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

import numpy as np

from tokenbench.statistics.clusters import Booleans, Floats, Ints
from tokenbench.statistics.contrasts import Contrasts
from tokenbench.statistics.limits import Critical, detectable, limits, null_norm, smallest_margin, statistic
from tokenbench.statistics.quantiles import normal_critical
from tokenbench.statistics.signs import Keys, Signs, draw_signs
from tokenbench.statistics.spending import Spending, spend_all, total_error

TIE = 1e-5
"""Statistics closer than this are tied: they are computed in single precision."""
NEAR = 0.05
"""Monte-Carlo error must not decide a verdict: a statistic this close to its critical value is tested on ten times as
many signs."""
LARGE = 1000
"""A family with more comparisons than this, on fewer images, is drawn without the eigenvectors of its correlations, which take
minutes for several thousand comparisons."""
_ERRORS = np.geomspace(1e-4, 1.0, 61)
"""Where p is searched for if there are several looks."""


@dataclass(frozen=True)
class Look:
    """The data at one look."""

    contrasts: Contrasts
    """The differences on the images seen so far."""
    share: float
    """How much of the images that may be seen at most this look has seen, in (0, 1]."""
    columns: Ints
    """Positions in the family of the differences that are still looked at."""
    number: int = 0
    """The number of the look, from 0."""


@dataclass(frozen=True)
class Family:
    """C comparisons, simultaneous over the family and over all looks; each as of its own last look."""

    value: Floats
    """``[C]`` differences."""
    statistic: Floats
    """``[C]`` sign-flip statistics of no difference."""
    p_unadjusted: Floats
    """``[C]`` p of each comparison by itself; NaN with several looks."""
    p: Floats
    """``[C]`` single-step adjusted p: at most alpha exactly where the interval excludes 0. It is the smallest error over all looks
    at which any of those so far rejects; with several looks, the smallest on a grid. NaN if there are too few images."""
    low: Floats
    """``[C]`` lower limits: the intervals of all looks intersected."""
    high: Floats
    """``[C]`` upper limits: the intervals of all looks intersected."""
    critical: Floats
    """``[C]`` critical values of the intervals."""
    mde: Floats
    """``[C]`` the smallest difference that the comparison finds with a power of 80 %."""
    smallest_margin: Floats
    """``[C]`` the smallest margin that these images can show."""
    disjoint: Booleans
    """``[C]`` whether the intervals of the looks have no value in common, so that the last one stands."""
    exact: bool
    """Whether all signs were enumerated."""


def family(
    looks: Contrasts | Sequence[Look],
    spending: Spending = spend_all,
    *,
    keys: Keys | None = None,
    count: int | None = None,
    resamples: int = 9999,
    seed: int = 0,
    alpha: float = 0.05,
) -> Family:
    """Test that C differences are zero.

    Args:
        looks: The data at every look so far, the present one last; or the differences themselves, if there is one look.
        spending: The error that may be spent up to and including a look.
        keys: ``[G]`` one number for each image, from which its signs follow; their positions by default.
        count: C, if some differences were seen at none of these looks.
        resamples: Random sign vectors B. All sign vectors are enumerated if there are fewer.
        seed: Seed of the random signs.
        alpha: The error of the family over all looks.
    """
    if isinstance(looks, Contrasts):
        looks = [Look(looks, 1.0, np.arange(len(looks.value)))]
    keys = np.arange(len(looks[0].contrasts.influence), dtype=np.uint64) if keys is None else keys
    count = 1 + max(int(look.columns.max()) for look in looks) if count is None else count
    for vectors in (resamples, 10 * (resamples + 1) - 1):
        signs = draw_signs(keys, vectors, seed)
        state = _Looks(signs, count)
        for look in looks:
            state.add(look)
        found = state.judge(looks, spending, alpha)
        if signs.exact or not state.near(spending, alpha):
            break
    return found


class _Looks:
    """Statistics and their distribution under random signs, look by look.

    A difference that is no longer looked at keeps its last statistic.
    """

    def __init__(self, signs: Signs, count: int) -> None:
        self.signs, self.count = signs, count
        self.own = int(not signs.exact)  # the enumerated signs hold the observed ones; random ones must be given them
        self.shares: list[float] = []
        self.numbers: list[int] = []
        self.observed: list[Floats] = []  # of what was looked at; of the others no statistic is known any more
        self.flips: list[Floats] = []
        self.normals: list[Floats] = []
        self._normal = np.random.default_rng([signs.seed, 1])
        self._statistic = np.zeros(count)
        self._seen = np.zeros(count)
        self._drawn = np.zeros((signs.vectors, count))
        self._path = np.zeros((signs.vectors, count))

    def add(self, look: Look) -> None:
        """Add the next look: its statistics, and the ``[B]`` maxima under random signs."""
        data, columns = look.contrasts, look.columns
        norm = null_norm(data)
        imposed = data.influence + data.value * data.shift
        scaled = np.divide(imposed, norm, out=np.zeros_like(imposed), where=norm > 0)
        self._statistic[columns] = statistic(data)
        self._drawn[:, columns] = np.abs(self.signs.sums(scaled))
        if self.count > 1 or self.shares or look.share < 1:
            # Of a difference that is new nothing was seen before, whatever was of the others.
            kept = self._seen[columns] * (self.shares[-1] if self.shares else 0.0) / look.share
            fresh = _draw_correlated(self._normal, len(self._path), data.influence)
            self._path[:, columns] = np.sqrt(kept) * self._path[:, columns] + np.sqrt(1 - kept) * fresh
        self._seen[columns] = 1.0
        self.shares.append(look.share)
        self.numbers.append(look.number)
        here = np.isin(np.arange(self.count), columns)
        self.observed.append(np.where(here, np.abs(self._statistic), np.nan))
        self.flips.append(self._drawn.max(axis=1))
        self.normals.append(np.abs(self._path).max(axis=1))

    def critical(self, spending: Spending, alpha: float) -> tuple[list[float], list[float]]:
        """Critical values of the sign flips and of the normal family, by look."""
        spent = [spending(at, share, alpha) for at, share in zip(self.numbers, self.shares, strict=True)]
        steps = np.diff([0.0, *spent])
        bounds = [normal_critical(max(step, 1e-15) / (2 * self.count)) for step in steps]
        flips = _boundary(self.flips, spent, bounds, self.own)
        normal = _boundary(self.normals, spent, bounds, 0)
        # One comparison is no less certain than a normal one.
        return flips, [max(c, normal_critical(total / 2)) for c, total in zip(normal, spent, strict=True)]

    def near(self, spending: Spending, alpha: float) -> bool:
        """Whether any statistic is so close to its critical value that the signs drawn may decide."""
        flips, _ = self.critical(spending, alpha)
        return any((np.abs(own - c) < NEAR).any() for own, c in zip(self.observed, flips, strict=True))

    def judge(self, looks: Sequence[Look], spending: Spending, alpha: float) -> Family:
        """Limits of all looks together, and p."""
        low, high = np.full(self.count, -np.inf), np.full(self.count, np.inf)
        bounded: list[Booleans] = []
        last_low, last_high, critical, value, mde, margin = (np.full(self.count, np.nan) for _ in range(6))
        for look, own, flips, normal in zip(looks, self.observed, *self.critical(spending, alpha), strict=True):
            data, at = look.contrasts, look.columns
            both = Critical(np.full(len(at), flips), np.full(len(at), normal))
            last_low[at], last_high[at] = limits(data, both, own[at] > flips)
            bounded.append(np.isin(np.arange(self.count), at[~np.isnan(last_low[at])]))
            low[at], high[at] = np.fmax(low[at], last_low[at]), np.fmin(high[at], last_high[at])
            value[at], critical[at] = data.value, max(flips, normal)
            mde[at], margin[at] = detectable(data, both.normal), smallest_margin(data, both.normal)
        unbounded, disjoint = np.isinf(low) | np.isinf(high), low > high
        low, high = np.where(disjoint, last_low, low), np.where(disjoint, last_high, high)
        low, high = np.where(unbounded, np.nan, low), np.where(unbounded, np.nan, high)
        for later in range(1, len(bounded)):  # where the last interval stands alone, so does its test
            for earlier in bounded[:later]:
                earlier &= ~(disjoint & bounded[later])
        p = (
            self._adjust_first_look(spending, alpha)
            if len(looks) == 1
            else self._adjust_over_looks(spending, alpha, bounded)
        )
        unadjusted = self._share(self._drawn) if len(looks) == 1 else np.full(self.count, np.nan)
        p, unadjusted = (np.where(unbounded, np.nan, one) for one in (p, unadjusted))
        return Family(
            value, self._statistic, unadjusted, p, low, high, critical, mde, margin, disjoint, self.signs.exact
        )  # fmt: skip

    def _share(self, drawn: Floats) -> Floats:
        reached = (drawn >= self.observed[0] - TIE).sum(axis=0)
        return np.asarray((self.own + reached) / (self.own + len(drawn)))

    def _adjust_first_look(self, spending: Spending, alpha: float) -> Floats:
        """Compute p at the first look, which may spend a part of the error only if others can follow."""
        found, at = np.unique(self._share(self.flips[0][:, None]), return_inverse=True)
        look, share = self.numbers[0], self.shares[0]
        return np.array([total_error(spending, look, share, spent, alpha) for spent in found.tolist()])[at]

    def _adjust_over_looks(self, spending: Spending, alpha: float, counts: Sequence[Booleans]) -> Floats:
        """Compute p over several looks.

        Args:
            spending: The error that may be spent up to and including a look.
            alpha: The error of the family over all looks.
            counts: By look, whether the interval that a difference has there is part of the reported one.
        """
        p = np.ones(self.count)
        for error in sorted({*_ERRORS.tolist(), alpha}, reverse=True):
            flips, _ = self.critical(spending, error)
            rejected = np.any(
                [(own > c) & one for own, c, one in zip(self.observed, flips, counts, strict=True)], axis=0
            )
            p = np.where(rejected, error, p)
        return p


def _boundary(maxima: Sequence[Floats], spent: Sequence[float], fallback: Sequence[float], own: int) -> list[float]:
    """Critical values by look: no more draws than the error spent allows have crossed one so far."""
    inside, found = np.ones(len(maxima[0]), dtype=bool), []
    for values, total, bound in zip(maxima, spent, fallback, strict=True):
        allowed = floor(total * (len(values) + own) + 1e-9) - own - int((~inside).sum())
        left = values[inside]
        if allowed >= 0:
            critical = float(np.partition(left, len(left) - 1 - allowed)[len(left) - 1 - allowed]) + TIE
        else:  # too few draws for so small an error
            critical = max(float(left.max()) + TIE, bound)
        found.append(critical)
        inside &= values <= critical
    return found


def _draw_correlated(generator: np.random.Generator, vectors: int, influence: Floats) -> Floats:
    """Draw normal statistics that are correlated as the differences are.

    Args:
        generator: The source of the draws.
        vectors: The number B of draws.
        influence: ``[G, C]`` influence values of the images.

    Returns:
        ``[B, C]``.
    """
    norm = np.sqrt((influence**2).sum(axis=0))
    unit = np.divide(influence, norm, out=np.zeros_like(influence), where=norm > 0)
    if len(unit) < unit.shape[1] > LARGE:  # a root of the correlations as it stands
        return np.asarray(generator.standard_normal((vectors, len(unit))) @ unit)
    values, directions = np.linalg.eigh(unit.T @ unit)
    root = (directions * np.sqrt(np.maximum(values, 0.0))) @ directions.T
    return np.asarray(generator.standard_normal((vectors, unit.shape[1])) @ root)
