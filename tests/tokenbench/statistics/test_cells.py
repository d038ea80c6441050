"""The interval of one cell's score, where it can be calculated by hand."""

import numpy as np
import pytest
from scipy import stats

from tests.tokenbench.statistics.data import as_task
from tokenbench.statistics import score_intervals


@pytest.mark.parametrize("sizes", [[1] * 12, [4] * 30, [1, 2, 3, 10, 4, 4, 6, 2]])
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
