"""Exact paired test: under the null a cluster's difference may as well have had the other sign.

With one 0/1 question per image this is McNemar's exact test; with more it is its clustered generalisation.
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from tokenbench.statistics.clusters import Floats, Ints

MAX_DENOMINATOR = 120
"""Covers 0/1 scores, VQA accuracy (tenths) and averages over a few seeds of either."""
_CHUNK = 1000


class SignFlip(NamedTuple):
    """Two-sided p, its mid-p (half the weight of the observed value), and whether both are exact."""

    p: float
    mid_p: float
    exact: bool


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
        return SignFlip(1.0, 1.0, True)
    units = lattice(differences)
    if units is None:
        return _monte_carlo(differences, resamples, seed)
    sizes = np.abs(units)
    probability = flip_distribution(sizes)
    values = np.abs(np.arange(len(probability)) * 2 - sizes.sum())
    observed = abs(int(units.sum()))
    p = float(probability[values >= observed].sum())
    return SignFlip(min(1.0, p), min(1.0, p) - float(probability[values == observed].sum()) / 2, True)


def _monte_carlo(differences: Floats, resamples: int, seed: int) -> SignFlip:
    generator = np.random.default_rng(seed)
    observed, slack = abs(differences.sum()), 1e-9 * np.abs(differences).sum()
    reached = tied = 0
    for start in range(0, resamples, _CHUNK):
        rows = min(_CHUNK, resamples - start)
        sums = np.abs(generator.choice((-1.0, 1.0), size=(rows, len(differences))) @ differences)
        reached += int((sums >= observed - slack).sum())
        tied += int((np.abs(sums - observed) <= slack).sum())
    p = (1 + reached) / (resamples + 1)
    return SignFlip(p, p - (1 + tied) / (resamples + 1) / 2, False)
