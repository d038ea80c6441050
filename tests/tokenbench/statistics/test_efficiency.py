"""Latency ratios: other libraries, error rates."""

import numpy as np
import pytest
from scipy import stats

from tokenbench.statistics.efficiency import holm, speed_ratio
from tokenbench_tools.bench.ratio import Ratio, ratio


def test_a_ratio_of_latencies_is_a_t_test_on_logarithms():
    rng = np.random.default_rng(2)
    a, b = np.exp(rng.normal(0.1, 0.05, 8)), np.exp(rng.normal(0, 0.05, 8))
    found, expected = speed_ratio(a, b), stats.ttest_1samp(np.log(a / b), 0)
    assert found.p == pytest.approx(expected.pvalue)
    assert np.log(found.interval) == pytest.approx(expected.confidence_interval())
    assert found.ratio == pytest.approx(stats.gmean(a / b))
    other = speed_ratio(b, a)
    assert (other.ratio, other.interval.low) == pytest.approx((1 / found.ratio, 1 / found.interval.high))


def test_the_bench_and_the_tests_have_one_ratio():
    rng = np.random.default_rng(5)
    a, b = np.exp(rng.normal(0.1, 0.05, 6)), np.exp(rng.normal(0, 0.05, 6))
    found, tested = ratio(a.tolist(), b.tolist()), speed_ratio(a, b)
    assert (found.estimate, found.low, found.high) == (tested.ratio, *tested.interval)
    few = ratio(a[:3].tolist(), b[:3].tolist())  # shown with a warning where a test would refuse
    expected = stats.ttest_1samp(np.log(a[:3] / b[:3]), 0).confidence_interval()
    assert (np.log(few.low), np.log(few.high)) == pytest.approx(tuple(expected))
    assert (ratio([2.0], [1.0]).low, ratio([2.0], [1.0]).estimate) == (None, pytest.approx(2.0))
    assert ratio([2.0, 2.0], [2.0, 2.0]) == Ratio(1.0, 1.0, 1.0)


def test_rounds_keep_their_level_and_single_timings_do_not():
    rng, runs, rounds, each = np.random.default_rng(3), 600, 8, 20
    launch = rng.normal(0, 0.015, (runs, 2, rounds, 1))
    timings = launch + rng.normal(0, 0.01, (runs, 2, rounds, each))
    medians = np.exp(np.median(timings, axis=-1))
    rejected = np.mean([speed_ratio(a, b).p <= 0.05 for a, b in medians])
    naive = stats.ttest_rel(timings[:, 0].reshape(runs, -1), timings[:, 1].reshape(runs, -1), axis=1).pvalue
    assert rejected <= 0.08
    assert (naive <= 0.05).mean() > 0.3


@pytest.mark.parametrize(("a", "b"), [([1, 1, 1], [1, 1, 1]), ([1] * 5, [1] * 6), ([0, 1, 1, 1, 1], [1] * 5)])
def test_what_supports_no_comparison_is_refused(a, b):
    with pytest.raises(ValueError, match=r"rounds|positive"):
        speed_ratio(a, b)


def test_holm_is_that_of_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(4).uniform(size=20) ** 3
    assert holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1])
