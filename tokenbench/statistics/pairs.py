"""Two cells on one task, sample by sample."""

from dataclasses import dataclass

import numpy as np

from tokenbench.statistics.cells import FEW
from tokenbench.statistics.clusters import UNKNOWN, Floats, Interval, Ints, cluster_sums, correction
from tokenbench.statistics.intervals import detectable, score_interval, tango_interval
from tokenbench.statistics.quantiles import normal_critical, student_critical, student_tail
from tokenbench.statistics.signflip import sign_flip


@dataclass(frozen=True)
class Pair:
    """Difference of two cells, first minus second, on the scale of the scores.

    Attributes:
        difference: of the mean scores.
        interval: pointwise 95 % interval.
        p: two-sided exact sign-flip p.
        mid_p: its mid-p.
        se: clustered standard error with the noise between seeds.
        df: degrees of freedom.
        a_better: samples that the first scored higher.
        b_better: samples that the second scored higher.
        discordant: clusters with any sample scored differently.
        mde: smallest difference this comparison would have found with power 0.8.
    """

    difference: float
    interval: Interval
    p: float
    mid_p: float
    se: float
    df: float
    a_better: int
    b_better: int
    discordant: int
    mde: float


def pair(
    a: Floats,
    b: Floats,
    codes: Ints,
    *,
    noise: float = 0.0,
    noise_df: float = np.inf,
    resamples: int = 9999,
    seed: int = 0,
    alpha: float = 0.05,
) -> Pair:
    """Compare two cells on the same samples.

    Args:
        a: ``[N]`` scores in [0, 1] (averaged over seeds where a strategy has several).
        b: ``[N]`` scores of the other cell.
        codes: ``[N]`` cluster of each sample, any integers.
        noise: variance of the difference that comes from the choice of seeds.
        noise_df: its degrees of freedom.
        resamples: sign vectors, used only for scores off every lattice.
        seed: of those.
        alpha: one minus the coverage.
    """
    # Averages over seeds may differ in the last bit only; that is not a difference.
    d = np.where(np.abs(a - b) > 1e-9, a - b, 0.0)
    _, local = np.unique(codes, return_inverse=True)
    n, clusters = len(d), int(local.max()) + 1
    sizes = np.bincount(local).astype(np.float64)
    sums = cluster_sums(d, local, clusters)
    estimate = float(sums.sum() / n)
    psi = (sums - sizes * estimate) / n
    sampling = correction(clusters) * float((psi**2).sum())
    variance = sampling + noise
    df = float(clusters - 1)
    if noise > 0 and clusters > 1:
        df = variance**2 / (sampling**2 / df + noise**2 / noise_df)
    se = float(np.sqrt(variance))
    critical = float(student_critical(alpha / 2, df))
    flip = sign_flip(sums, resamples=resamples, seed=seed)
    p, mid_p = flip.p, flip.mid_p
    if noise > 0:
        p_seeds = float(2 * student_tail(abs(estimate) / se, df))
        p, mid_p = max(p, p_seeds), max(mid_p, p_seeds)
    discordant = int((cluster_sums(d != 0, local, clusters) > 0).sum())
    interval, width = UNKNOWN, se
    if clusters > 1 and discordant < FEW:
        interval = _few_discordant(d, variance, clusters, critical)
        width = max(se, 2 / clusters)
    elif clusters > 1:
        z = np.array([normal_critical(alpha / 2) if noise == 0 else critical])
        low, high = score_interval(np.array([estimate]), psi[:, None], (sizes / n)[:, None], z, noise)
        interval = Interval(float(low[0]), float(high[0]))
    mde = float(detectable(np.array(width), np.array(critical), np.array(df)))
    return Pair(estimate, interval, p, mid_p, se, df, int((d > 0).sum()), int((d < 0).sum()), discordant, mde)


def _few_discordant(d: Floats, variance: float, clusters: int, critical: float) -> Interval:
    """Tango's interval on counts divided by the design effect of the difference (never taken below one)."""
    n = len(d)
    naive = float(np.var(d, ddof=1) / n)
    deff = max(1.0, variance / naive) if naive > 0 else n / clusters
    b, c = float(d[d > 0].sum()), float(-d[d < 0].sum())
    return tango_interval(b / deff, c / deff, n / deff, critical)
