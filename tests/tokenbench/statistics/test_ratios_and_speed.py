"""F1, stratified totals and latency ratios: hand-made vectors, other libraries, error rates."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tokenbench.bench.ratio import Ratio, ratio
from tokenbench.statistics.efficiency import holm, speed_ratio
from tokenbench.statistics.estimates import Estimates
from tokenbench.statistics.ratios import f1_score, logit_interval, stratified_mean

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "vectors.json").read_text())


def counts(gt, pred):
    gt, pred = np.array(gt) == "yes", np.array(pred) == "yes"
    return ((a & b)[:, None].astype(float) for a, b in ((gt, pred), (~gt, pred), (gt, ~pred)))


def test_f1_counts_what_is_not_yes_as_a_miss():
    vector = VECTORS["pope_f1"]
    found = f1_score(*counts(vector["gt"], vector["pred"]), np.ones(8))
    assert found.value[0] == pytest.approx(vector["f1_eq_2TP_over_PP_plus_P"])
    assert found.value[0] < vector["f1_lmms_eval"]


def test_the_error_of_f1_is_that_of_resampled_images():
    rng = np.random.default_rng(0)
    images, per = 200, 6
    gt = np.tile([True, False] * (per // 2), images)
    right = rng.normal(size=images).repeat(per) * 0.7 + rng.normal(size=images * per) + 1 > 0
    pred = np.where(right, gt, ~gt)
    sums = [
        part.reshape(images, per).sum(axis=1, keepdims=True).astype(float)
        for part in (gt & pred, ~gt & pred, gt & ~pred)
    ]
    found = f1_score(*sums, np.full(images, float(per)))
    weights = rng.multinomial(images, np.full(images, 1 / images), 4000)
    hits, alarms, misses = (weights @ part[:, 0] for part in sums)
    assert found.se[0] == pytest.approx((2 * hits / (2 * hits + alarms + misses)).std(), rel=0.05)
    low, high = logit_interval(float(found.value[0]), float(found.se[0]), images - 1)
    assert 0 < low < found.value[0] < high < 1


def test_mmes_total_is_that_of_its_categories():
    vector = VECTORS["mme_toy"]
    names = [name for name, *_ in vector["images"]]
    both = np.array([100 * ((a + b) / 2 + a * b) for _, a, b in vector["images"]])[:, None]
    strata = [np.array([at for at, name in enumerate(names) if name == kind]) for kind in ("color", "count")]
    found = stratified_mean([both[at] for at in strata], strata, [1.0, 1.0], len(names))
    assert found.value[0] == pytest.approx(vector["total"])
    variance = sum(both[at].var(ddof=1) / len(at) for at in strata)
    assert found.se[0] ** 2 == pytest.approx(variance)
    assert isinstance(found, Estimates)
    assert 1 <= found.df[0] <= 3


def test_an_image_in_two_strata_is_one_cluster():
    scores = np.random.default_rng(1).uniform(size=(30, 1))
    shared = stratified_mean([scores, scores], [np.arange(30)] * 2, [0.5, 0.5], 30)
    apart = stratified_mean([scores, scores], [np.arange(30), 30 + np.arange(30)], [0.5, 0.5], 60)
    assert shared.se[0] == pytest.approx(np.sqrt(2) * apart.se[0])


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
