"""Error rates and coverage on made-up data with a known truth, beside a wrong method that fails the same check.

Six questions an image; the difficulty goes with the image. Tolerances are about three Monte-Carlo standard errors.
"""

import numpy as np
import pytest
from scipy import stats

from tokenbench.statistics import (
    TaskSums,
    average_seeds,
    cell_mean,
    family,
    mean_score,
    pair,
    retention,
    wilson,
)

PER = 6


def cell_scores(rng, images, share, cells=2, loss=0.0):
    """``[images * PER, cells]`` 0/1 scores; every cell but the first loses ``loss`` (one number or one a cell) on the latent scale."""
    scale = np.sqrt(0.35 + 0.45 + 0.08 + 0.12)
    image = rng.normal(0, np.sqrt(0.35), (images, 1, 1)) + rng.normal(0, np.sqrt(0.08), (images, 1, cells))
    question = rng.normal(0, np.sqrt(0.45), (images, PER, 1)) + rng.normal(0, np.sqrt(0.12), (images, PER, cells))
    latent = (image + question) / scale + stats.norm.ppf(share) - loss * (np.arange(cells) > 0)
    return (latent > 0).astype(float).reshape(images * PER, cells)


def cluster(images):
    return np.repeat(np.arange(images), PER)


def sums_of(scores, start=0):
    images = len(scores) // PER
    return TaskSums(start + np.arange(images), np.full(images, float(PER)), scores.reshape(images, PER, -1).sum(axis=1))


def control(cells):
    return np.vstack([-np.ones(cells - 1), np.eye(cells - 1)])


@pytest.mark.parametrize("share", [0.7, 0.95])
def test_cell_intervals_cover_and_naive_ones_do_not(share):
    rng, runs = np.random.default_rng(0), 400
    clustered = naive = 0
    for _ in range(runs):
        scores = cell_scores(rng, 50, share, cells=1)[:, 0]
        low, high = cell_mean(scores, cluster(50)).interval
        clustered += low <= share <= high
        low, high = wilson(scores.mean(), len(scores), 1.96)
        naive += low <= share <= high
    assert 0.915 <= clustered / runs <= 0.985
    assert naive / runs < 0.91


def test_sign_flips_keep_their_level_and_mcnemar_without_clusters_does_not():
    rng, runs = np.random.default_rng(1), 600
    found = np.array([
        (pair(*scores.T, cluster(50)).mid_p, pair(*scores.T, np.arange(300)).mid_p)
        for scores in (cell_scores(rng, 50, 0.7) for _ in range(runs))
    ])  # fmt: skip
    clustered, naive = (found <= 0.05).mean(axis=0)
    assert clustered <= 0.075
    assert naive > 0.085


def test_pair_intervals_cover_the_true_difference():
    rng, runs, loss = np.random.default_rng(2), 400, 0.3
    truth = 0.8 - stats.norm.cdf(stats.norm.ppf(0.8) - loss)
    found = [pair(*cell_scores(rng, 50, 0.8, loss=loss).T, cluster(50)).interval for _ in range(runs)]
    assert 0.915 <= np.mean([low <= truth <= high for low, high in found]) <= 0.985


def test_the_family_keeps_its_error_and_unadjusted_tests_do_not():
    rng, runs, matrix = np.random.default_rng(3), 200, control(7)
    adjusted = raw = 0
    for run in range(runs):
        estimates = mean_score([sums_of(cell_scores(rng, 50, 0.7, cells=7))]).contrast(matrix)
        found = family(estimates, resamples=399, seed=run)
        adjusted += found.p.min() <= 0.05
        raw += found.p_unadjusted.min() <= 0.05
    assert adjusted / runs <= 0.10
    assert raw / runs > 0.13


def test_images_shared_by_tasks_need_a_common_sign():
    """Both tasks ask about the same images; a sign per task and image finds differences that are not there."""
    rng, runs = np.random.default_rng(4), 300
    together = apart = 0
    for run in range(runs):
        scores = cell_scores(rng, 40, 0.7)
        tasks = [sums_of(scores[::2].repeat(2, axis=0)), sums_of(scores[1::2].repeat(2, axis=0))]
        split = [tasks[0], tasks[1]._replace(index=tasks[1].index + 40)]
        p = [family(mean_score(t).contrast(control(2)), resamples=299, seed=run).p[0] for t in (tasks, split)]
        together += p[0] <= 0.05
        apart += p[1] <= 0.05
    assert together / runs <= 0.09
    assert apart > together


LIBERAL = pytest.mark.xfail(
    reason="three seeds that differ more than images do: measured 0.097, Satterthwaite's df are too many there"
)


@pytest.mark.parametrize(("shift", "naive"), [(0.0, 0.0), (0.08, 0.1), pytest.param(0.2, 0.2, marks=LIBERAL)])
def test_seeds_that_shift_all_samples_are_allowed_for(shift, naive):
    """One mask for a whole run makes a seed main effect; without its variance the error is far above the level."""
    rng, runs, cell = np.random.default_rng(5), 300, np.array([0, 1, 1, 1])
    p = []
    for run in range(runs):
        columns = mean_score([sums_of(cell_scores(rng, 100, 0.7, cells=4, loss=rng.normal(0, shift, 4)))])
        seeds = average_seeds(columns, cell).contrast(control(2))
        images_only = columns.contrast(np.array([[-1.0], [1 / 3], [1 / 3], [1 / 3]]))
        p.append([family(estimates, resamples=299, seed=run).p[0] for estimates in (seeds, images_only)])
    with_seeds, without = (np.array(p) <= 0.05).mean(axis=0)
    assert without > naive
    assert with_seeds <= 0.08


@pytest.mark.slow
def test_family_error_and_joint_coverage_with_unequal_images():
    rng, runs, matrix = np.random.default_rng(6), 500, control(6)
    errors = covered = 0
    for run in range(runs):
        sizes = np.maximum(1, rng.lognormal(1.5, 0.8, 40).astype(int))
        image = rng.normal(size=(40, 6)) * 0.3 + rng.normal(size=(40, 1)) * 0.6
        codes = np.repeat(np.arange(40), sizes)
        scores = (image[codes] + rng.normal(size=(len(codes), 6)) + 0.7 > 0).astype(float)
        sums = np.zeros((40, 6))
        np.add.at(sums, codes, scores)
        found = family(
            mean_score([TaskSums(np.arange(40), sizes.astype(float), sums)]).contrast(matrix), resamples=599, seed=run
        )
        errors += found.p.min() <= 0.05
        covered += ((found.low <= 0) & (found.high >= 0)).all()
    assert errors / runs <= 0.08
    assert covered / runs >= 0.92


@pytest.mark.slow
def test_retention_coverage_and_non_inferiority_at_the_margin():
    rng, runs, loss = np.random.default_rng(7), 500, 0.1
    share = np.array([0.6, 0.7, 0.8, 0.9])
    ratio = 100 * stats.norm.cdf(stats.norm.ppf(share) - loss) / share
    covered = claimed = 0
    for run in range(runs):
        tasks = [sums_of(cell_scores(rng, 60, s, cells=4, loss=loss), 60 * t) for t, s in enumerate(share)]
        found = retention(tasks, np.array([1.0, 0, 0, 0]))
        half = stats.t.isf(0.025, found.df[1]) * found.se[1]
        covered += abs(found.value[1] - ratio.mean()) <= half
        tested = family(found.contrast(control(4)), null=ratio.mean() - 100, two_sided=False, resamples=599, seed=run)
        claimed += tested.p.min() <= 0.025
    assert 0.92 <= covered / runs <= 0.98
    assert claimed / runs <= 0.045


@pytest.mark.slow
def test_power_is_what_the_standard_error_promises():
    rng, runs = np.random.default_rng(8), 300
    loss = stats.norm.ppf(0.7) - stats.norm.ppf(0.67)
    found = [pair(*cell_scores(rng, 500, 0.7, loss=loss).T, cluster(500)) for _ in range(runs)]
    power = np.mean([f.mid_p <= 0.05 for f in found])
    promised = stats.norm.cdf(0.03 / np.mean([f.se for f in found]) - 1.96)
    assert power == pytest.approx(promised, abs=0.07)
