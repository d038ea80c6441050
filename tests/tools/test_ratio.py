"""Ratios of times: other libraries, error rates."""

import numpy as np
import pytest
from scipy import stats

from tokenbench_tools.bench.ratio import Ratio, ratio


@pytest.mark.parametrize("launches", [3, 8])
def test_a_ratio_is_a_t_test_on_logarithms(launches: int) -> None:
    rng = np.random.default_rng(2)
    a, b = np.exp(rng.normal(0.1, 0.05, launches)), np.exp(rng.normal(0, 0.05, launches))
    own, other = ratio(a.tolist(), b.tolist()), ratio(b.tolist(), a.tolist())
    expected = stats.ttest_1samp(np.log(a / b), 0).confidence_interval()
    assert np.log([own.low, own.high]) == pytest.approx(tuple(expected))
    assert own.estimate == pytest.approx(stats.gmean(a / b))
    assert (other.estimate, other.low) == pytest.approx((1 / own.estimate, 1 / own.high))


def test_one_launch_has_no_interval_and_equal_ones_have_none_of_any_width() -> None:
    assert ratio([2.0], [1.0]) == Ratio(pytest.approx(2.0), None, None)
    assert ratio([2.0, 2.0], [2.0, 2.0]) == Ratio(1.0, 1.0, 1.0)


def test_launches_keep_their_level_and_single_timings_do_not() -> None:
    rng, runs, launches, each = np.random.default_rng(3), 600, 8, 20
    launch = rng.normal(0, 0.015, (runs, 2, launches, 1))
    timings = launch + rng.normal(0, 0.01, (runs, 2, launches, each))
    medians = np.exp(np.median(timings, axis=-1))
    found = [ratio(a.tolist(), b.tolist()) for a, b in medians]
    rejected = np.mean([not one.low <= 1 <= one.high for one in found])
    naive = stats.ttest_rel(timings[:, 0].reshape(runs, -1), timings[:, 1].reshape(runs, -1), axis=1).pvalue
    assert rejected <= 0.08
    assert (naive <= 0.05).mean() > 0.3
