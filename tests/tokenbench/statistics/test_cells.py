"""The interval of one cell's score, where it can be calculated by hand."""

import numpy as np
import pytest
from scipy import stats

from tests.tokenbench.statistics.data import as_task
from tokenbench.statistics import change_interval, contrasts, score_intervals, tilted_statistic
from tokenbench.statistics.contrasts import Scale


@pytest.mark.parametrize("sizes", [[1] * 12, [4] * 30, [1] * 30 + [3] * 20, [1, 2, 3, 10, 4, 4, 6, 2]])
def test_always_right_may_be_wrong_on_an_image_that_was_not_seen(sizes):
    """No variation was seen: what is left is t^2 unseen images of even size, Student's t on as many images less one."""
    codes = np.repeat(np.arange(len(sizes)), sizes)
    even = len(codes) ** 2 / sum(size**2 for size in sizes)
    reach = stats.t.isf(0.025, even - 1) ** 2 / even
    scores = np.stack([np.ones(len(codes)), np.zeros(len(codes))], axis=1)
    value, low, high = score_intervals([as_task(scores, codes)], np.arange(2), len(sizes))
    assert value.tolist() == [1, 0]
    assert low == pytest.approx([max(0, 1 - reach), 0])
    assert high == pytest.approx([1, min(1, reach)])


def test_seeds_that_may_move_all_samples_widen_the_interval():
    rng = np.random.default_rng(0)
    scores = (rng.uniform(size=(400, 4)) < [0.7, 0.5, 0.7, 0.9]).astype(float)
    cell, widths = np.array([0, 1, 1, 1]), {}
    for scope, counted in (("run", np.ones(2)), ("sample", np.zeros(2))):
        _, low, high = score_intervals([as_task(scores, np.arange(400))], cell, 400, counted)
        widths[scope] = high - low
    assert widths["run"][0] == widths["sample"][0]  # it has one seed
    # Student's upper limit for the mean of three seeds alone is above 1 here, and the lower one at 0.2.
    lower, _ = stats.ttest_1samp(scores[:, 1:].mean(axis=0), 0).confidence_interval(0.95)
    assert widths["run"][1] > 0.95 * (1 - lower) > 0.5 > 0.1 > widths["sample"][1]


@pytest.mark.parametrize("sizes", [[1] * 40, [3] * 30, [1, 2, 3, 10, 4, 4, 6, 2]])
def test_the_limits_of_a_change_are_the_values_that_its_own_statistic_rejects(sizes):
    """Turned back: at a limit the tilted statistic is Student's critical value on as many images as there are of even size."""
    codes = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(len(codes))
    scores = (rng.uniform(size=(len(codes), 2)) < [0.8, 0.5]).astype(float)
    task, cell, one = as_task(scores, codes), np.arange(2), np.zeros(2)
    value, low, high = change_interval(task, cell, len(sizes), one)
    assert value == pytest.approx(scores[:, 1].mean() - scores[:, 0].mean())
    found = contrasts([task], cell, [(1, 0)], Scale.SCORE, len(sizes), one)
    critical = stats.t.isf(0.025, len(codes) ** 2 / sum(size**2 for size in sizes) - 1)
    unseen = found.sizes.unseen(np.array([critical]))
    for limit in (low, high):
        if -1 < limit < 1:
            assert abs(tilted_statistic(found.value, found.influence, limit, unseen)[0]) == pytest.approx(critical)
    assert change_interval(as_task(scores[:, ::-1], codes), cell, len(sizes), one) == pytest.approx(
        (-value, -high, -low)
    )


def test_a_change_on_one_image_has_no_limits():
    assert np.isnan(
        change_interval(as_task(np.array([[1.0, 0.0], [1.0, 1.0]]), np.zeros(2, int)), np.arange(2), 1, np.zeros(2))[1:]
    ).all()


def test_seeds_that_may_move_all_samples_widen_a_change():
    rng = np.random.default_rng(0)
    scores = (rng.uniform(size=(400, 4)) < [0.8, 0.5, 0.6, 0.7]).astype(float)
    task, cell = as_task(scores, np.arange(400)), np.array([0, 1, 1, 1])
    free, shared = (change_interval(task, cell, 400, np.array([0.0, own])) for own in (0.0, 1.0))
    assert free[0] == shared[0]
    assert shared[1] < free[1]
    assert free[2] < shared[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("images", "per", "loss", "gain", "whole"),
    [(20, 3, 0.3, 0.1, 0.5), (60, 2, 0.2, 0.05, 0.3), (200, 1, 0.01, 0.01, 0)],
)
def test_limits_of_a_change_hold_the_truth_as_often_as_they_say(images, per, loss, gain, whole):
    """Answers of a share of the images (``whole``) go together."""
    rng, held, runs = np.random.default_rng(1), 0, 600
    codes = np.repeat(np.arange(images), per)
    for _ in range(runs):
        drawn = rng.uniform(size=(images, per))
        drawn = np.where(rng.uniform(size=(images, 1)) < whole, drawn[:, :1], drawn).ravel()
        change = np.where(drawn < loss, -1, np.where(drawn > 1 - gain, 1, 0))
        before = np.where(change < 0, 1, np.where(change > 0, 0, rng.integers(0, 2, len(codes))))
        _, low, high = change_interval(
            as_task(np.stack([before, before + change], 1).astype(float), codes), np.arange(2), images, np.zeros(2)
        )
        held += low <= gain - loss <= high
    assert held / runs > 0.95 - 2.5 * np.sqrt(0.95 * 0.05 / runs)
