"""Seeds that may move all samples at once: what they add, by an independent computation and by the error that they would cause."""

import numpy as np
import pytest
from scipy import stats

from tests.tokenbench.statistics.data import Z, against_first, as_task
from tokenbench.statistics import SeedSpread, family, seed_spread

CELL = [0, 1, 1, 1]


def stochastic(rng, images=60, shift=0.0, seeds=3):
    """Vanilla and one cell with seeds, of which each moves all samples by its own shift."""
    latent = rng.normal(size=(images, 1)) + rng.normal(0, 0.4, (images, 1 + seeds))
    moved = np.append(0.0, rng.normal(0, shift, seeds)) if shift else 0.0
    return as_task((latent + 0.8 + moved > 0).astype(float), np.arange(images))


def test_what_seeds_add_is_students_limit_for_their_mean():
    """Where images say nothing, the half width is Student's on as many degrees of freedom as there are seeds less one."""
    values = np.array([0.0, 1.0, 2.0, 6.0])
    spread = seed_spread(values, np.zeros((5, 4)), np.array(CELL))
    low, high = stats.ttest_1samp(values[1:], 0).confidence_interval(0.95)
    assert np.sqrt(spread.excess(np.array([[Z]]))[0, 1]) == pytest.approx((high - low) / 2)
    assert spread.excess(np.array([[Z]]))[0, 0] == 0  # vanilla has a single seed


def test_noise_of_single_images_is_not_counted_twice():
    """Without a shift of the whole run what the images explain is taken off again, and with ten seeds nearly nothing is left."""
    rng = np.random.default_rng(0)
    ratios = {}
    for seeds in (3, 10):
        cell = [0] + [1] * seeds
        found = against_first([stochastic(rng, 2000, seeds=seeds)], cell=cell)
        half = Z**2 * (found.influence**2).sum()
        ratios[seeds] = np.sqrt(1 + found.excess(np.array([Z]))[0] / half)
    assert 1 <= ratios[10] < 1.35
    assert ratios[3] >= 1


def test_the_seeds_scope_decides_whether_they_count():
    rng = np.random.default_rng(1)
    task = stochastic(rng, 300, 0.6)
    run = family(against_first([task], cell=CELL), resamples=499)
    sample = family(against_first([task], cell=CELL, counted=np.array([1.0, 0.0])), resamples=499)
    assert run.high[0] - run.low[0] > 1.5 * (sample.high[0] - sample.low[0])
    assert run.p[0] >= sample.p[0]
    assert against_first([task], cell=CELL, counted=np.array([1.0, 0.0])).seeds.contradicted.tolist() == [False, True]
    assert not against_first([task], cell=CELL).seeds.contradicted.any()


def test_honest_seeds_are_not_accused():
    rng = np.random.default_rng(2)
    accused = [
        against_first([stochastic(rng, 100)], cell=CELL, counted=np.zeros(2)).seeds.contradicted.any()
        for _ in range(300)
    ]
    assert np.mean(accused) <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_seeds_that_move_all_samples_keep_their_level(shift):
    """One mask for a whole run; ignoring it finds differences that are not there."""
    rng, runs = np.random.default_rng(5), 150
    wrong = naive = 0
    for run in range(runs):
        task = stochastic(rng, 120, shift)
        for at, counted in enumerate((np.ones(2), np.zeros(2))):
            found = family(against_first([task], cell=CELL, counted=counted), resamples=199, seed=run)
            excluded = bool(found.low[0] > 0 or found.high[0] < 0)
            wrong, naive = wrong + (excluded and not at), naive + (excluded and at)
    assert wrong / runs <= 0.105
    assert naive / runs > (0.2 if shift else -1)


def test_seeds_that_are_not_counted_add_nothing():
    spread = seed_spread(np.array([0.0, 1.0, 2.0, 6.0]), np.zeros((5, 4)), np.array(CELL), np.array([1.0, 0.0]))
    assert spread.excess(np.array([[Z]])).tolist() == [[0, 0]]


@pytest.mark.parametrize(("cells", "accused"), [(1, True), (50, False)])
def test_more_cells_are_not_accused_more_often(cells, accused):
    """A spread that one honest cell has once in 2,000 times is nothing special in the largest of fifty."""
    ratio = np.full(cells, stats.chi2.isf(1 / 2000, 2) / 2)
    spread = SeedSpread(ratio, np.ones(cells), np.full(cells, 2.0), np.zeros(cells))
    assert spread.contradicted.tolist() == [accused] * cells
