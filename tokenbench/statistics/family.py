"""One test for a family of comparisons: cluster sign flips with the null imposed, and the maximum over the family.

Every comparison sees the same random signs, so their dependence is kept; the step-down p and the simultaneous
intervals hold for the whole family (Westfall and Young 1993; Romano and Wolf 2005; sign changes with few clusters:
Canay, Santos and Shaikh 2021). With a control as the common partner it is a paired, clustered Dunnett test.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
from scipy import special

from tokenbench.statistics.clusters import Floats
from tokenbench.statistics.estimates import Estimates
from tokenbench.statistics.intervals import score_interval
from tokenbench.statistics.quantiles import normal_critical, student_critical, student_tail

_CHUNK = 1000
_TIE = 1e-5
"""Statistics closer than this are tied: they are computed in single precision."""


@dataclass(frozen=True)
class Family:
    """Tests of C comparisons against a null, simultaneous over the family.

    Attributes:
        statistic: ``[C]`` the sign-flip statistics T0.
        p_unadjusted: ``[C]``.
        p_single: ``[C]`` single-step adjusted; at most alpha exactly where the interval excludes the null.
        p: ``[C]`` step-down adjusted, never larger than single step.
        low: ``[C]`` simultaneous lower limits.
        high: ``[C]`` simultaneous upper limits (infinite when one-sided).
        critical: ``[C]`` critical values of the intervals.
        exact: whether all sign vectors were enumerated.
    """

    statistic: Floats
    p_unadjusted: Floats
    p_single: Floats
    p: Floats
    low: Floats
    high: Floats
    critical: Floats
    exact: bool


def family(
    estimates: Estimates,
    *,
    null: float = 0.0,
    two_sided: bool = True,
    floor: Floats | float = 0.0,
    resamples: int = 9999,
    seed: int = 0,
    alpha: float = 0.05,
) -> Family:
    """Test all estimates against ``null`` by max-T.

    Args:
        estimates: C estimates with their influence values.
        null: the value under the null; with ``two_sided=False`` the alternative is "greater" at level alpha / 2.
        two_sided: use absolute values.
        floor: ``[C]`` variance added where too few clusters are discordant to show any. It enters the intervals, and
            tests away from zero; a test of no difference needs none.
        resamples: random sign vectors B; fewer than B possible ones are all enumerated instead.
        seed: of the signs: the same seed gives the same numbers.
        alpha: error of the family.
    """
    distance = estimates.value - null
    psi, shift = estimates.psi(), estimates.shift()
    extra = np.broadcast_to(np.asarray(floor, dtype=np.float64), distance.shape)
    tested = extra if null else np.zeros_like(distance)
    imposed = psi + distance * shift
    norm = np.sqrt((imposed**2).sum(axis=0) + estimates.noise_variance + tested)
    # Rounding alone is no evidence: without any difference between the columns the statistic is zero.
    norm = np.where(norm > 1e-9 * (1 + np.abs(estimates.value)), norm, np.inf)
    freedom = _noise_df(estimates, (psi**2).sum(axis=0))
    statistic = _student_to_normal(distance / norm, freedom)
    noise = np.vstack([estimates.noise, np.diag(np.sqrt(tested))]) if tested.any() else estimates.noise
    drawn, exact = _flips(imposed / norm, noise / norm, resamples, seed)
    observed = np.abs(statistic) if two_sided else statistic
    drawn = np.abs(drawn) if two_sided else drawn
    highest = np.sort(drawn.max(axis=1))
    # The enumerated set holds the observed signs; a random sample must be given them.
    own = 0 if exact else 1
    rank = ceil((1 - (alpha if two_sided else alpha / 2)) * (len(drawn) + own))
    bound = float(highest[min(rank, len(highest)) - 1]) + 2 * _TIE
    bounds = np.where(extra > 0, max(bound, normal_critical(alpha / 2)), bound)
    critical = _normal_to_student(bounds, freedom)
    low, high = score_interval(estimates.value, psi, shift, critical, estimates.noise_variance + extra)
    return Family(
        statistic=statistic,
        p_unadjusted=(own + (drawn >= observed - _TIE).sum(axis=0)) / (own + len(drawn)),
        p_single=(own + (highest[:, None] >= observed - _TIE).sum(axis=0)) / (own + len(drawn)),
        p=_step_down(observed, drawn, own),
        low=low,
        high=high if two_sided else np.full_like(high, np.inf),
        critical=critical,
        exact=exact,
    )


def _step_down(observed: Floats, drawn: Floats, own: int) -> Floats:
    """Compare each statistic with the maximum over those not larger than itself, largest first."""
    order = np.argsort(-observed, kind="stable")
    maxima = np.maximum.accumulate(drawn[:, order[::-1]], axis=1)[:, ::-1]
    p = (own + (maxima >= observed[order] - _TIE).sum(axis=0)) / (own + len(drawn))
    adjusted = np.empty(len(observed))
    adjusted[order] = np.maximum.accumulate(p)
    return adjusted


def _flips(psi: Floats, noise: Floats, resamples: int, seed: int) -> tuple[Floats, bool]:
    """``[B, C]`` statistics under signs of the clusters and normal draws of the noise; whether the signs are all."""
    generator = np.random.default_rng(seed)
    single, offset = psi.astype(np.float32), psi.sum(axis=0).astype(np.float32)
    enumerated = not noise.any() and len(psi) < 31 and 2 ** len(psi) <= resamples + 1
    bits = _all_bits(len(psi)) if enumerated else _random_bits(len(psi), resamples, generator)
    drawn = np.concatenate([2 * (rows @ single) - offset for rows in bits]).astype(np.float64)
    sources = np.flatnonzero(noise.any(axis=1))
    if len(sources):
        drawn += generator.standard_normal((len(drawn), len(sources))) @ noise[sources]
    return drawn, enumerated


def _random_bits(clusters: int, resamples: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    width = ceil(clusters / 8)
    for start in range(0, resamples, _CHUNK):
        rows = min(_CHUNK, resamples - start)
        packed = np.frombuffer(generator.bytes(rows * width), dtype=np.uint8).reshape(rows, width)
        yield np.unpackbits(packed, axis=1, count=clusters).astype(np.float32)


def _all_bits(clusters: int) -> Iterator[np.ndarray]:
    yield (np.arange(2**clusters)[:, None] >> np.arange(clusters) & 1).astype(np.float32)


def _noise_df(estimates: Estimates, sampling: Floats) -> Floats:
    """``[C]`` degrees of freedom as far as the noise limits them; infinite without noise.

    The signs take care of how many clusters there are, so only the seeds' variance counts as estimated here.
    """
    limited = (estimates.noise**4 / estimates.noise_df[:, None]).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(limited > 0, (sampling + estimates.noise_variance) ** 2 / limited, np.inf)


def _student_to_normal(statistic: Floats, df: Floats) -> Floats:
    """The normal quantile with the same tail as Student's on ``df``."""
    limited = np.isfinite(df)
    tail = student_tail(np.abs(statistic), np.where(limited, df, 1.0))
    return np.where(limited, np.copysign(-special.ndtri(tail), statistic), statistic)


def _normal_to_student(critical: Floats, df: Floats) -> Floats:
    return np.where(np.isfinite(df), student_critical(special.ndtr(-critical), df), critical)
