"""Exact paired test: under the null a cluster's difference may as well have had the other sign.

With one 0/1 question per image this is McNemar's exact test; with more it is its clustered generalisation.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tokenbench.statistics.clusters import Booleans, Floats, Ints

MAX_DENOMINATOR = 120
"""Covers 0/1 scores, VQA accuracy (tenths) and averages over a few seeds of either."""
TIE = 1e-9
_CHUNK = 1000


@dataclass(frozen=True)
class Flips:
    """How ``|sum_g +-d_g| / ||d||`` is distributed under fair signs."""

    values: Floats
    """The possible values (or the drawn ones), rising."""
    tail: Floats
    """The probability of each value or anything larger."""
    exact: bool
    """Whether all signs were counted."""

    def reach(self, statistic: ArrayLike) -> Floats:
        """Probability of a statistic as large as each of these."""
        beyond = 0.0 if self.exact else self.tail[-1]
        return np.asarray(np.append(self.tail, beyond)[np.searchsorted(self.values, np.asarray(statistic) - TIE)])

    def critical(self, level: float) -> float:
        """The value that is exceeded with a probability of at most ``level``."""
        beyond = np.append(self.tail[1:], 0.0)
        return float(self.values[int(np.argmax(beyond <= level))])


@dataclass(frozen=True)
class SignFlip(Flips):
    """The test of one comparison."""

    statistic: float
    """The observed value."""

    @property
    def p(self) -> float:
        """Two-sided p."""
        return float(self.reach(self.statistic))

    @property
    def mid_p(self) -> float:
        """Two-sided p with half the weight of the observed value."""
        return float(self.reach([self.statistic, self.statistic + 2 * TIE]).mean())


def lattices(differences: Floats) -> tuple[Ints, Booleans]:
    """The differences as integers on the coarsest lattice 1/q that holds all of a comparison.

    Args:
        differences: ``[C, G]``.

    Returns:
        ``[C, G]`` integers, and ``[C]`` whether there is such a lattice.
    """
    units, open_ = np.zeros(differences.shape, dtype=np.int64), np.arange(len(differences))
    for denominator in range(1, MAX_DENOMINATOR + 1):
        scaled = differences[open_] * denominator
        rounded = np.rint(scaled)
        fits = np.abs(scaled - rounded).max(axis=1, initial=0.0) < 1e-6
        units[open_[fits]] = rounded[fits]
        open_ = open_[~fits]
        if not len(open_):
            break
    return units, np.isin(np.arange(len(differences)), open_, invert=True)


def flip_distribution(sizes: Ints) -> Floats:
    """Distribution of ``sum_g +-size_g`` with fair signs.

    Args:
        sizes: ``[G]`` positive integers.

    Returns:
        ``[sum(sizes) + 1]`` probabilities of the values ``-total, -total + 2, .., total``.
    """
    probability = np.ones(1)
    # Clusters with the same size act together: their part is a binomial, shifted in steps of the size.
    for size, count in zip(*np.unique(sizes, return_counts=True), strict=True):
        steps = np.zeros(size * count + 1)
        steps[::size] = _fair_binomial(int(count))
        probability = np.convolve(probability, steps)
    return probability


def _fair_binomial(count: int) -> Floats:
    heads = np.arange(count + 1)
    ways = special.gammaln(count + 1) - special.gammaln(heads + 1) - special.gammaln(count - heads + 1)
    return np.asarray(np.exp(ways - count * np.log(2)))


def sign_flip(differences: Floats, *, resamples: int = 9999, seed: int = 0) -> SignFlip:
    """Test that differences by cluster are symmetric about zero.

    Args:
        differences: ``[G]`` sums of score differences per cluster.
        resamples: Random sign vectors, used only if the differences share no lattice.
        seed: Seed of the random signs.
    """
    [found], _ = flips(differences[:, None], resamples=resamples, seed=seed)
    norm = float(np.linalg.norm(differences))
    return SignFlip(found.values, found.tail, found.exact, abs(float(differences.sum())) / norm if norm > 0 else 0.0)


def flips(differences: Floats, *, resamples: int = 9999, seed: int = 0) -> tuple[list[Flips], Ints]:
    """Compute how signs distribute each of C comparisons.

    Comparisons whose clusters differ by the same sizes share a distribution.

    Args:
        differences: ``[G, C]`` sums of score differences per cluster.
        resamples: Random sign vectors, used only if the differences share no lattice.
        seed: Seed of the random signs.

    Returns:
        The distributions, and ``[C]`` the position of each comparison's.
    """
    rows = np.ascontiguousarray(differences.T)
    rows[np.abs(rows) <= 1e-9] = 0.0
    units, on_lattice = lattices(rows)
    sizes = np.sort(np.abs(units), axis=1)
    found: list[Flips] = []
    known: dict[bytes, int] = {}
    which = np.empty(len(rows), dtype=np.int64)
    for at, (row, exact) in enumerate(zip(sizes, on_lattice, strict=True)):
        key = row.tobytes() if exact else at.to_bytes(8)
        if key not in known:
            known[key] = len(found)
            found.append(
                _enumerate_signs(row[row > 0]) if exact else _draw_at_random(rows[at][rows[at] != 0], resamples, seed)
            )
        which[at] = known[key]
    return found, which


def _enumerate_signs(sizes: Ints) -> Flips:
    """All signs of ``[G]`` sizes on a lattice."""
    if not len(sizes):
        return Flips(np.zeros(1), np.ones(1), True)
    probability = flip_distribution(sizes)
    values = np.arange(len(probability)) * 2 - sizes.sum()
    ahead = values >= 0
    twice = np.where(values[ahead] > 0, 2.0, 1.0) * probability[ahead]  # the distribution is symmetric
    tail = np.minimum(np.cumsum(twice[::-1])[::-1], 1.0)
    return Flips(values[ahead] / float(np.linalg.norm(sizes)), tail, True)


def _draw_at_random(differences: Floats, resamples: int, seed: int) -> Flips:
    """Random signs, with the observed ones among them."""
    norm = float(np.linalg.norm(differences))
    observed = abs(float(differences.sum())) / norm
    drawn = np.sort(np.append(_monte_carlo(differences, resamples, seed) / norm, observed))
    return Flips(drawn, np.arange(len(drawn), 0, -1) / len(drawn), False)


def _monte_carlo(differences: Floats, resamples: int, seed: int) -> Floats:
    generator = np.random.default_rng(seed)
    parts = []
    for start in range(0, resamples, _CHUNK):
        rows = min(_CHUNK, resamples - start)
        parts.append(np.abs(generator.choice((-1.0, 1.0), size=(rows, len(differences))) @ differences))
    return np.concatenate(parts)
