"""Coverage and error rates of the statistics on made-up data with a known truth.

    python -m benchmarks.simulations [--runs 6000]        prints the table of docs/simulations.md

Six questions an image unless said otherwise; latent normal scores with variance .35 for the image, .45 for the question, .08 for
image x strategy, .12 for question x strategy, so that two strategies differ on about 18 % of the samples at a score of .7.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from math import sqrt
from typing import NamedTuple

import numpy as np
from scipy import stats

from tokenbench.statistics import TaskSums, average_seeds, cell_mean, family, mean_score, pair, retention

BANDS = {
    "coverage": (0.93, 0.975),
    "error": (0.0, 0.06),
    "joint coverage": (0.93, 1.0),
    "non-inferiority": (0.0, 0.035),
}
"""What a rate of its kind should be in; coverage and error are nominally 95 % and 5 %, non-inferiority 2.5 %."""


class Rate(NamedTuple):
    """A measured rate."""

    what: str
    setting: str
    kind: str
    rate: float
    runs: int

    @property
    def error(self) -> float:
        """Monte-Carlo standard error."""
        return sqrt(max(self.rate * (1 - self.rate), 0.0002) / self.runs)

    @property
    def inside(self) -> bool:
        """Whether the rate is in its band."""
        low, high = BANDS[self.kind]
        return low <= self.rate <= high


def drawn(rng, sizes, share, cells=1, loss=0.0, image=0.35):
    """``[sum(sizes), cells]`` 0/1 scores and the image of each; every cell but the first loses ``loss`` on the latent scale."""
    codes = np.repeat(np.arange(len(sizes)), sizes)
    question = 0.8 - image
    own = rng.normal(0, sqrt(image), (len(sizes), 1)) + rng.normal(0, sqrt(0.08), (len(sizes), cells))
    asked = rng.normal(0, sqrt(question), (len(codes), 1)) + rng.normal(0, sqrt(0.12), (len(codes), cells))
    latent = own[codes] + asked + stats.norm.ppf(share) - loss * (np.arange(cells) > 0)
    return (latent > 0).astype(float), codes


def summed(scores, codes, start=0):
    """The scores by image, as one task."""
    images = int(codes.max()) + 1
    sums = np.zeros((images, scores.shape[1]))
    np.add.at(sums, codes, scores)
    return TaskSums(start + np.arange(images), np.bincount(codes).astype(float), sums)


def contrasts(cells, control):
    """``[cells, C]`` all pairs, or every cell against the first."""
    first = [0] if control else range(cells)
    pairs = [(a, b) for a in first for b in range(a + 1, cells)]
    matrix = np.zeros((cells, len(pairs)))
    for at, (a, b) in enumerate(pairs):
        matrix[b, at], matrix[a, at] = 1.0, -1.0
    return matrix


def images_of(rng, kind):
    """Questions an image."""
    if kind == "unequal 40":
        return np.maximum(1, rng.lognormal(1.5, 0.8, 40).astype(int))
    count, per = kind
    return np.full(count, per)


def named(kind, share):
    """A setting in words."""
    return f"{kind if isinstance(kind, str) else f'{kind[0]} x {kind[1]}'}, score {share}"


def cells(rng, runs) -> Iterator[Rate]:
    """Intervals of one score."""
    for kind in ((50, 6), (500, 6), (300, 1), "unequal 40"):
        for share in (0.5, 0.7, 0.95, 0.98):
            covered = 0
            for _ in range(runs):
                scores, codes = drawn(rng, images_of(rng, kind), share)
                low, high = cell_mean(scores[:, 0], codes).interval
                covered += low <= share <= high
            yield Rate("score of a cell", named(kind, share), "coverage", covered / runs, runs)
    for count in (8, 15):
        covered = 0
        for _ in range(runs):
            scores, codes = drawn(rng, np.full(count, 6), 0.95, image=0.7)
            low, high = cell_mean(scores[:, 0], codes).interval
            covered += low <= 0.95 <= high
        setting = f"{count} x 6, score 0.95, questions of an image alike (very few images)"
        yield Rate("score of a cell", setting, "coverage", covered / runs, runs)


def pairs(rng, runs) -> Iterator[Rate]:
    """Two cells on one task."""
    for kind in ((50, 6), (500, 6), (300, 1), "unequal 40"):
        for share in (0.7, 0.95, 0.98):
            wrong = exact = covered = 0
            loss = 0.2
            truth = share - stats.norm.cdf(stats.norm.ppf(share) - loss)
            for _ in range(runs):
                scores, codes = drawn(rng, images_of(rng, kind), share, 2)
                found = pair(scores[:, 0], scores[:, 1], codes)
                wrong, exact = wrong + (found.mid_p <= 0.05), exact + (found.p <= 0.05)
                scores, codes = drawn(rng, images_of(rng, kind), share, 2, loss)
                low, high = pair(scores[:, 0], scores[:, 1], codes).interval
                covered += low <= truth <= high
            yield Rate("pair, exact p", named(kind, share), "error", exact / runs, runs)
            yield Rate("pair, mid-p", named(kind, share), "error", wrong / runs, runs)
            yield Rate("difference of a pair", named(kind, share), "coverage", covered / runs, runs)


def families(rng, runs) -> Iterator[Rate]:
    """Many comparisons at once, none of them true."""
    settings = [
        ((50, 6), 0.7, 6),
        ((50, 6), 0.95, 6),
        ((50, 6), 0.98, 8),
        ((300, 1), 0.95, 8),
        ("unequal 40", 0.7, 6),
        ((12, 6), 0.7, 6),
        ((500, 6), 0.98, 15),
    ]
    for kind, share, count in settings:
        for control in (False, True):
            matrix = contrasts(count, control)
            errors = covered = 0
            for run in range(runs):
                scores, codes = drawn(rng, images_of(rng, kind), share, count)
                found = family(mean_score([summed(scores, codes)]).contrast(matrix), resamples=599, seed=run)
                errors += found.p.min() <= 0.05
                covered += not ((found.low > 0) | (found.high < 0)).any()
            setting = f"{named(kind, share)}, {matrix.shape[1]} {'against a control' if control else 'pairs'}"
            yield Rate("family", setting, "error", errors / runs, runs)
            yield Rate("family", setting, "joint coverage", covered / runs, runs)


def retentions(rng, runs) -> Iterator[Rate]:
    """Retention over four tasks, and non-inferiority of strategies whose loss is the margin."""
    share, loss = np.array([0.6, 0.7, 0.8, 0.9]), 0.1
    truth = 100 * (stats.norm.cdf(stats.norm.ppf(share) - loss) / share).mean()
    covered = claimed = 0
    for run in range(runs):
        tasks = [summed(*drawn(rng, np.full(60, 6), s, 5, loss), start=60 * t) for t, s in enumerate(share)]
        found = retention(tasks, np.eye(5)[0])
        half = stats.t.isf(0.025, found.df[1]) * found.se[1]
        covered += abs(found.value[1] - truth) <= half
        tested = family(found.contrast(contrasts(5, True)), null=truth - 100, two_sided=False, resamples=599, seed=run)
        claimed += tested.p.min() <= 0.025
    yield Rate("retention", "4 tasks, 60 x 6", "coverage", covered / runs, runs)
    yield Rate("retention", "4 tasks, 60 x 6, 4 strategies at the margin", "non-inferiority", claimed / runs, runs)


def seeds(rng, runs) -> Iterator[Rate]:
    """A stochastic strategy with seeds of its own shift against a deterministic one."""
    cell = np.array([0, 1, 1, 1, 1, 1])
    for shift in (0.0, 0.08):
        wrong = 0
        for run in range(runs):
            scores, codes = drawn(rng, np.full(100, 6), 0.7, 6, rng.normal(0, shift, 6))
            estimates = average_seeds(mean_score([summed(scores, codes)]), cell).contrast(np.array([[-1.0], [1.0]]))
            wrong += family(estimates, resamples=299, seed=run).p[0] <= 0.05
        yield Rate("five seeds", f"100 x 6, score 0.7, shift between seeds {shift}", "error", wrong / runs, runs)


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    parts: list[tuple[Callable[..., Iterator[Rate]], int]] = [
        (cells, runs),
        (pairs, runs),
        (families, runs // 2),
        (retentions, runs // 2),
        (seeds, runs // 2),
    ]
    print("# Coverage and error rates, measured\n")
    print(
        "`python -m benchmarks.simulations`; `tests/tokenbench/statistics/test_simulations.py` runs a small part of it."
    )
    print(
        "Coverage of nominal 95 % intervals should lie in 93 to 97.5 %, error rates at most at 6 % (nominal 5 %), non-inferiority"
    )
    print("claimed at the margin at most at 3.5 % (nominal 2.5 %). Where a rate is outside, the last column says so.\n")
    print(
        "| what | setting (images x questions) | kind | rate % | ± | |\n| :--- | :--- | :--- | ---: | ---: | :--- |",
        flush=True,
    )
    for at, (part, count) in enumerate(parts):
        for rate in part(np.random.default_rng(at), count):
            flag = "" if rate.inside else "too low" if rate.rate < BANDS[rate.kind][0] else "too high"
            print(
                f"| {rate.what} | {rate.setting} | {rate.kind} | {100 * rate.rate:.1f} | {100 * rate.error:.1f} | {flag} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
