"""Exact paired test: under the null a cluster's difference may as well have had the other sign.

With one 0/1 question per image this is McNemar's exact test; with more it is its clustered generalisation.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from tokenbench.statistics.clusters import Floats, Ints

MAX_DENOMINATOR = 120
"""Covers 0/1 scores, VQA accuracy (tenths) and averages over a few seeds of either."""
TIE = 1e-9
_CHUNK = 1000


@dataclass(frozen=True)
class SignFlip:
    """How ``|sum_g +-d_g| / ||d||`` is distributed under fair signs.

    Attributes:
        statistic: the one observed.
        values: possible ones (or drawn ones), rising.
        tail: probability of each or anything larger.
        exact: whether all signs were counted.
    """

    statistic: float
    values: Floats
    tail: Floats
    exact: bool

    @property
    def p(self) -> float:
        """Two-sided p."""
        return self.reach(self.statistic)

    def reach(self, statistic: float) -> float:
        """Probability of a statistic as large as this one."""
        at = int(np.searchsorted(self.values, statistic - TIE))
        return float(self.tail[at]) if at < len(self.tail) else 0.0 if self.exact else float(self.tail[-1])

    def critical(self, level: float) -> float:
        """The value that is exceeded with a probability of at most ``level``."""
        beyond = np.append(self.tail[1:], 0.0)
        return float(self.values[int(np.argmax(beyond <= level))])


def lattice(differences: Floats) -> Ints | None:
    """The differences as integers on the coarsest lattice 1/q that holds them all, or None."""
    for denominator in range(1, MAX_DENOMINATOR + 1):
        scaled = differences * denominator
        rounded = np.rint(scaled)
        if np.abs(scaled - rounded).max(initial=0.0) < 1e-6:
            return rounded.astype(np.int64)
    return None


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
        resamples: random sign vectors, used only when the differences share no lattice.
        seed: of those.
    """
    differences = differences[np.abs(differences) > 1e-9]
    if not len(differences):
        return SignFlip(0.0, np.zeros(1), np.ones(1), True)
    norm = float(np.linalg.norm(differences))
    observed = abs(float(differences.sum())) / norm
    units = lattice(differences)
    if units is None:
        drawn = np.sort(np.append(_monte_carlo(differences, resamples, seed) / norm, observed))
        return SignFlip(observed, drawn, np.arange(len(drawn), 0, -1) / len(drawn), False)
    sizes = np.abs(units)
    probability = flip_distribution(sizes)
    values = np.arange(len(probability)) * 2 - sizes.sum()
    ahead = values >= 0
    twice = np.where(values[ahead] > 0, 2.0, 1.0) * probability[ahead]  # the distribution is symmetric
    tail = np.minimum(np.cumsum(twice[::-1])[::-1], 1.0)
    return SignFlip(observed, values[ahead] / float(np.linalg.norm(units)), tail, True)


def _monte_carlo(differences: Floats, resamples: int, seed: int) -> Floats:
    generator = np.random.default_rng(seed)
    parts = []
    for start in range(0, resamples, _CHUNK):
        rows = min(_CHUNK, resamples - start)
        parts.append(np.abs(generator.choice((-1.0, 1.0), size=(rows, len(differences))) @ differences))
    return np.concatenate(parts)
