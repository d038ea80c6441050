"""What must not change a result, and what must."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenbench.statistics import (
    TaskSums,
    cell_mean,
    cluster_sums,
    family,
    mean_score,
    pair,
    retention,
    score_interval,
    sign_flip,
    tango_interval,
    wilson,
)
from tokenbench.statistics.signflip import flip_distribution

few_scores = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([0, 0.3, 1]), st.sampled_from([0, 0.6, 1])), min_size=2
)


def binary_cells(images=40, per=3, cells=4, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(images), per)
    latent = rng.normal(size=images)[codes][:, None] + rng.normal(size=(len(codes), cells)) + np.linspace(1, 0.5, cells)
    return (latent > 0).astype(float), codes


def as_task(scores, codes):
    index, local = np.unique(codes, return_inverse=True)
    return TaskSums(index, np.bincount(local).astype(float), cluster_sums(scores, local, len(index)))


def against_first(estimates):
    cells = len(estimates.value)
    return estimates.contrast(np.vstack([-np.ones(cells - 1), np.eye(cells - 1)]))


def test_writing_every_sample_three_times_adds_no_information():
    scores, codes = binary_cells()
    once, thrice = pair(*scores.T[:2], codes), pair(*np.repeat(scores, 3, axis=0).T[:2], np.repeat(codes, 3))
    assert (thrice.p, thrice.se, thrice.df) == pytest.approx((once.p, once.se, once.df))
    assert thrice.interval == pytest.approx(once.interval)
    one = family(against_first(mean_score([as_task(scores, codes)])), resamples=999)
    three = family(
        against_first(mean_score([as_task(3 * scores, codes)._replace(sizes=np.full(40, 9.0))])), resamples=999
    )
    assert three.p == pytest.approx(one.p)
    assert three.low == pytest.approx(one.low)
    # Samples taken as independent would gain the root of three: the check can fail.
    naive = pair(*np.repeat(scores, 3, axis=0).T[:2], np.arange(3 * len(codes)))
    assert naive.se < 0.75 * pair(*scores.T[:2], np.arange(len(codes))).se


def test_exchanging_the_cells_turns_the_interval_round():
    scores, codes = binary_cells()
    there, back = pair(*scores.T[:2], codes), pair(*scores.T[1::-1], codes)
    assert back.interval == pytest.approx((-there.interval.high, -there.interval.low))
    assert (back.p, back.a_better, back.b_better) == (there.p, there.b_better, there.a_better)


def test_the_order_of_samples_and_the_names_of_clusters_do_not_matter():
    scores, codes = binary_cells()
    order = np.random.default_rng(1).permutation(len(codes))
    names = np.random.default_rng(2).permutation(1000)[:40]
    assert cell_mean(scores[order, 0], names[codes[order]]) == cell_mean(scores[:, 0], codes)
    assert pair(*scores[order].T[:2], names[codes[order]]).interval == pytest.approx(
        pair(*scores.T[:2], codes).interval
    )


def test_the_unit_of_the_scores_does_not_matter():
    scores, codes = binary_cells()
    plain, times = (family(against_first(mean_score([as_task(k * scores, codes)])), resamples=999) for k in (1, 100))
    assert times.p == pytest.approx(plain.p)
    assert times.high == pytest.approx(100 * plain.high)


def test_limits_are_where_the_score_statistic_reaches_the_critical_value():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 6, 30).astype(float)
    sums = rng.integers(-2, 4, 30).astype(float)
    estimate = sums.sum() / sizes.sum()
    psi, shift = (sums - sizes * estimate) / sizes.sum(), sizes / sizes.sum()
    limits = score_interval(np.array([estimate]), psi[:, None], shift[:, None], np.array([2.1]))
    for limit in limits:
        rest = sums - sizes * limit[0]
        assert abs(rest.sum()) / np.linalg.norm(rest) == pytest.approx(2.1)


def test_identical_columns_give_p_one_and_finite_intervals():
    scores, codes = binary_cells()
    scores[:, 1] = scores[:, 0]
    found = family(against_first(mean_score([as_task(scores, codes)])), floor=np.array([1e-4, 0, 0]), resamples=999)
    assert (found.p[0], found.p_unadjusted[0]) == (1.0, 1.0)
    assert found.low[0] < 0 < found.high[0]
    single = pair(scores[:, 0], scores[:, 1], codes)
    assert single.p == 1
    assert single.interval.low < 0 < single.interval.high
    assert np.isfinite(single.interval).all()


@pytest.mark.parametrize("seed", range(6))
def test_the_simultaneous_interval_excludes_the_null_where_single_step_p_is_small(seed):
    scores, codes = binary_cells(images=60, cells=6, seed=seed)
    found = family(against_first(mean_score([as_task(scores, codes)])), resamples=999, seed=seed)
    excluded = (found.low > 0) | (found.high < 0)
    assert (excluded == (found.p_single <= 0.05)).all()
    assert (found.p_unadjusted <= found.p).all()
    assert (found.p <= found.p_single).all()


def test_both_kinds_of_verdict_occur_in_the_test_above():
    adjusted = [
        family(
            against_first(mean_score([as_task(*binary_cells(images=60, cells=6, seed=seed))])), resamples=999
        ).p_single
        for seed in range(6)
    ]
    assert 0 < (np.concatenate(adjusted) <= 0.05).mean() < 1


def test_a_task_counted_twice_on_the_same_images_adds_no_information():
    scores, codes = binary_cells()
    task = as_task(scores, codes)
    vanilla = np.array([1.0, 0, 0, 0])
    once, twice = retention([task], vanilla), retention([task, task], vanilla)
    assert twice.se == pytest.approx(once.se)
    assert twice.df[1:] == pytest.approx(once.df[1:])
    apart = retention([task, task._replace(index=task.index + 40)], vanilla)
    assert apart.se[1:] == pytest.approx(once.se[1:] / np.sqrt(2))
    assert apart.df[1:] == pytest.approx(2 * once.df[1:])
    # A common sign for the image in both tasks, or the test would be too sure as well.
    tests = [family(against_first(estimates), resamples=999).p for estimates in (once, twice, apart)]
    assert tests[1] == pytest.approx(tests[0])
    assert (tests[2] <= tests[0]).all()


def test_the_same_seed_gives_the_same_numbers_and_another_does_not():
    estimates = against_first(mean_score([as_task(*binary_cells())]))
    first, again, other = (family(estimates, resamples=499, seed=seed) for seed in (1, 1, 2))
    assert (first.p == again.p).all()
    assert (first.low == again.low).all()
    assert (first.p != other.p).any()


def test_one_sided_tests_ask_for_greater_than_the_null():
    estimates = against_first(mean_score([as_task(*binary_cells(images=300))]))
    found = family(estimates, null=-0.5, two_sided=False, resamples=999)
    assert (found.p <= 0.025).all()
    assert np.isinf(found.high).all()
    assert (found.low > -0.5).all()
    assert (family(estimates, null=0.5, two_sided=False, resamples=999).p == 1).all()


def test_a_floor_forbids_claims_from_a_handful_of_agreements():
    """Eight images without any difference do not rule a difference of 0.1 out; without a floor they seem to."""
    same = np.ones((8, 2))
    estimates = against_first(mean_score([as_task(same, np.arange(8))]))
    naive = family(estimates, null=-0.1, two_sided=False)
    careful = family(estimates, null=-0.1, two_sided=False, floor=4 / 8**2)
    assert naive.p[0] < 0.025 < careful.p[0]


@given(few_scores)
def test_pairs_are_sane_on_any_data(rows):
    codes, a, b = (np.array(column) for column in zip(*rows, strict=True))
    found = pair(a.astype(float), b.astype(float), codes)
    assert 0 < found.p <= 1
    assert 0 <= found.mid_p <= found.p
    low, high = found.interval
    assert np.isnan(low) or low - 1e-6 <= found.difference <= high + 1e-6
    assert np.isnan(low) == (len(set(codes)) == 1) or len(set(codes)) < 6


@given(st.floats(0, 1), st.floats(1, 1e5), st.floats(0.5, 5))
def test_wilson_stays_within_bounds_and_holds_the_mean(mean, n, critical):
    low, high = wilson(mean, n, critical)
    assert -1e-9 <= low <= mean + 1e-9
    assert mean - 1e-9 <= high <= 1 + 1e-9


@given(st.lists(st.integers(1, 7), min_size=1, max_size=12))
def test_the_distribution_of_flipped_sums_is_that_of_every_sign(sizes):
    every = (np.arange(2 ** len(sizes))[:, None] >> np.arange(len(sizes)) & 1) * 2 - 1
    expected = np.bincount((every @ np.array(sizes) + sum(sizes)) // 2, minlength=sum(sizes) + 1) / 2 ** len(sizes)
    assert flip_distribution(np.array(sizes)) == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 30))
def test_tango_never_collapses_and_turns_round(b, c, rest):
    n = b + c + rest
    if n == 0:
        return
    low, high = tango_interval(b, c, n, 1.96)
    assert low < high
    assert tango_interval(c, b, n, 1.96) == pytest.approx((-high, -low), abs=1e-9)


@given(st.lists(st.sampled_from([-2, -1, -0.3, 0, 0.3, 0.6, 1]), min_size=1, max_size=30))
def test_sign_flip_is_blind_to_the_sign_of_everything(differences):
    d = np.array(differences)
    assert sign_flip(d).p == pytest.approx(sign_flip(-d).p, abs=1e-12)
