"""Error rates and coverage on made-up data with a known truth, of the decisions that the product makes, beside a wrong method that fails.

Six questions an image; the difficulty goes with the image. Tolerances are about three Monte-Carlo standard errors. The full table is in
docs/simulations.md.
"""

import numpy as np
import pytest
from scipy import stats

from tests.tokenbench.statistics.data import against_first, as_task
from tokenbench.comparison.verdicts import judge_against_vanilla
from tokenbench.statistics import Scale, family, score_intervals

pytestmark = pytest.mark.slow  # the longest are exhaustive

PER = 6


def cell_scores(rng, images, share, cells=2, loss=0.0):
    """``[images * PER, cells]`` 0/1 scores; every cell but the first loses ``loss`` (one number or one a cell) on the latent scale."""
    image = rng.normal(0, np.sqrt(0.35), (images, 1, 1)) + rng.normal(0, np.sqrt(0.08), (images, 1, cells))
    question = rng.normal(0, np.sqrt(0.45), (images, PER, 1)) + rng.normal(0, np.sqrt(0.12), (images, PER, cells))
    latent = image + question + stats.norm.ppf(share) - loss * (np.arange(cells) > 0)
    return (latent > 0).astype(float).reshape(images * PER, cells)


def images_of(count):
    return np.repeat(np.arange(count), PER)


def excludes_zero(found):
    return (found.low > 0) | (found.high < 0)


@pytest.mark.parametrize("share", [0.7, 0.95])
def test_cell_intervals_cover_and_naive_ones_do_not(share):
    rng, runs = np.random.default_rng(0), 400
    clustered = naive = 0
    for _ in range(runs):
        scores = cell_scores(rng, 50, share, cells=1)
        _, low, high = score_intervals([as_task(scores, images_of(50))], np.zeros(1, dtype=int), 50)
        clustered += low[0] <= share <= high[0]
        low, high = stats.binomtest(int(scores.sum()), len(scores)).proportion_ci(method="wilson")
        naive += low <= share <= high
    assert clustered / runs >= 0.92
    assert naive / runs < 0.91


def test_the_family_keeps_its_error_and_samples_taken_as_images_do_not():
    rng, runs = np.random.default_rng(3), 120
    clustered = naive = 0
    for run in range(runs):
        scores = cell_scores(rng, 40, 0.7, cells=5)
        by_image, by_sample = (against_first([as_task(scores, codes)]) for codes in (images_of(40), np.arange(240)))
        clustered += excludes_zero(family(by_image, resamples=199, seed=run)).any()
        naive += excludes_zero(family(by_sample, resamples=199, seed=run)).any()
    assert clustered / runs <= 0.11
    assert naive > clustered


def test_images_shared_by_tasks_need_a_common_sign():
    """Both tasks ask about the same images; a sign per task and image finds differences that are not there."""
    rng, runs = np.random.default_rng(4), 200
    together = apart = 0
    for run in range(runs):
        scores = cell_scores(rng, 40, 0.7)
        tasks = [as_task(scores[at::2].repeat(2, axis=0), images_of(40)) for at in (0, 1)]
        split = [tasks[0], tasks[1]._replace(index=tasks[1].index + 40)]
        p = [family(against_first(t), resamples=199, seed=run).p[0] for t in (tasks, split)]
        together, apart = together + (p[0] <= 0.05), apart + (p[1] <= 0.05)
    assert together / runs <= 0.10
    assert apart > together


def claims(rng, runs, images, questions, whole, tasks=1):
    """How often a strategy that truly loses 1 point is called non-inferior within 1; losses without gains.

    whole: an image that loses loses all its answers.
    """
    claimed = hidden = 0
    rate = 0.01
    for run in range(runs):
        found = []
        for task in range(tasks):
            if whole:
                lost = np.repeat(rng.uniform(size=images) < rate, questions)
            else:
                lost = rng.uniform(size=images * questions) < rate
            scores = np.stack([np.ones(len(lost)), 1.0 - lost], axis=1)
            codes = np.repeat(np.arange(images), questions)
            found.append(as_task(scores, codes + task * images))
        tested = family(against_first(found, Scale.RETENTION), resamples=199, seed=run)
        claimed += judge_against_vanilla(tested.low[0], tested.high[0], 1.0).lossless
        hidden += tested.low[0] > -1
    return claimed / runs, hidden / runs


@pytest.mark.parametrize(("images", "questions", "whole"), [(1000, 1, False), (300, 5, True), (600, 5, True)])
def test_losses_without_gains_at_the_margin_are_rarely_called_non_inferior(images, questions, whole):
    claimed, hidden = claims(np.random.default_rng(7), 150, images, questions, whole)
    assert claimed == hidden
    assert claimed <= 0.063  # 2.5 % and three Monte-Carlo errors


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("images", "questions", "whole", "tasks"),
    [(2000, 1, False, 1), (4000, 1, False, 1), (1000, 1, False, 4), (400, 5, True, 1), (1600, 5, True, 1)],
)
def test_non_inferiority_at_the_margin_keeps_its_level(images, questions, whole, tasks):
    claimed, _ = claims(np.random.default_rng(8), 700, images, questions, whole, tasks)
    assert claimed <= 0.043


@pytest.mark.exhaustive
def test_family_error_and_joint_coverage_with_unequal_images():
    rng, runs = np.random.default_rng(6), 400
    errors = 0
    for run in range(runs):
        sizes = np.maximum(1, rng.lognormal(1.5, 0.8, 40).astype(int))
        image = rng.normal(size=(40, 6)) * 0.3 + rng.normal(size=(40, 1)) * 0.6
        codes = np.repeat(np.arange(40), sizes)
        scores = (image[codes] + rng.normal(size=(len(codes), 6)) + 0.7 > 0).astype(float)
        errors += excludes_zero(family(against_first([as_task(scores, codes)]), resamples=299, seed=run)).any()
    assert errors / runs <= 0.083


@pytest.mark.exhaustive
def test_retention_coverage_over_four_tasks():
    rng, runs, loss = np.random.default_rng(7), 400, 0.1
    share = np.array([0.6, 0.7, 0.8, 0.9])
    truth = (100 * stats.norm.cdf(stats.norm.ppf(share) - loss) / share).mean() - 100
    covered = claimed = 0
    for run in range(runs):
        scored = [cell_scores(rng, 60, s, cells=4, loss=loss) for s in share]
        tasks = [as_task(scores, images_of(60) + 60 * at) for at, scores in enumerate(scored)]
        found = family(against_first(tasks, Scale.RETENTION), resamples=299, seed=run)
        covered += bool(((found.low <= truth) & (truth <= found.high)).all())
        claimed += bool((found.low > truth).any())
    assert covered / runs >= 0.917
    assert claimed / runs <= 0.05
