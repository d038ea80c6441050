"""What must not change a result, and what must."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tokenbench.statistics.data import against_first, as_task
from tokenbench.statistics import Scale, contrasts, family, flips, score_intervals, sign_flip
from tokenbench.statistics.signflip import flip_distribution
from tokenbench.statistics.signs import Signs, draw_signs


def binary_cells(images=40, per=3, cells=4, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(images), per)
    latent = rng.normal(size=images)[codes][:, None] + rng.normal(size=(len(codes), cells)) + np.linspace(1, 0.5, cells)
    return (latent > 0).astype(float), codes


def test_writing_every_image_three_times_under_one_name_adds_no_information_about_spread():
    scores, codes = binary_cells()
    once = against_first([as_task(scores, codes)])
    thrice = against_first([as_task(np.repeat(scores, 3, axis=0), np.repeat(codes, 3))])
    assert thrice.influence == pytest.approx(once.influence)
    assert family(thrice, resamples=999).p == pytest.approx(family(once, resamples=999).p)
    # Samples taken as independent would gain the root of three: the check can fail.
    apart = against_first([as_task(np.repeat(scores, 3, axis=0), np.arange(3 * len(codes)))])
    assert ((apart.influence**2).sum(axis=0) < 0.6 * (once.influence**2).sum(axis=0)).all()


def test_exchanging_the_cells_turns_the_interval_round():
    scores, codes = binary_cells()
    task = as_task(scores[:, :2], codes)
    there, back = (
        family(contrasts([task], np.arange(2), [pair], Scale.SCORE, 40), resamples=999) for pair in ((0, 1), (1, 0))
    )
    assert (back.low[0], back.high[0]) == pytest.approx((-there.high[0], -there.low[0]))
    assert back.p == there.p


def test_the_unit_of_the_scores_does_not_matter_for_retention():
    scores, codes = binary_cells()
    plain, half = (
        family(against_first([as_task(k * scores, codes)], Scale.RETENTION), resamples=999) for k in (1, 0.5)
    )
    assert half.p == pytest.approx(plain.p)
    assert half.value == pytest.approx(plain.value)


def test_identical_columns_give_p_one_and_finite_intervals():
    scores, codes = binary_cells()
    scores[:, 1] = scores[:, 0]
    found = family(against_first([as_task(scores, codes)]), resamples=999)
    assert (found.p[0], found.p_unadjusted[0]) == (1.0, 1.0)
    assert found.low[0] < 0 < found.high[0]
    assert np.isfinite([found.low, found.high]).all()


def test_a_task_counted_twice_on_the_same_images_adds_no_information():
    scores, codes = binary_cells()
    task = as_task(scores, codes)
    once, twice, apart = (
        against_first(tasks, Scale.RETENTION)
        for tasks in ([task], [task, task], [task, task._replace(index=task.index + 40)])
    )
    assert twice.influence == pytest.approx(once.influence)
    assert twice.sizes.unseen(np.full(3, 1.96)) == pytest.approx(once.sizes.unseen(np.full(3, 1.96)))
    assert (apart.influence**2).sum(axis=0) == pytest.approx((once.influence**2).sum(axis=0) / 2)
    # A common sign for the image in both tasks, or the test would be too sure as well.
    tests = [family(differences, resamples=999).p for differences in (once, twice, apart)]
    assert tests[1] == pytest.approx(tests[0])
    assert (tests[2] <= tests[0]).all()


def test_the_same_seed_gives_the_same_numbers_and_another_does_not():
    differences = against_first([as_task(*binary_cells())])
    first, again, other = (family(differences, resamples=499, seed=seed) for seed in (1, 1, 2))
    assert (first.p == again.p).all()
    assert (first.low == again.low).all()
    assert (first.p != other.p).any()


def test_an_image_keeps_its_signs_whatever_else_is_there():
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 2**63, 50).astype(np.uint64)
    values = rng.normal(size=(50, 2))
    some = np.zeros_like(values)
    some[10:30] = values[10:30]
    whole, part = draw_signs(keys, 999, 3), draw_signs(keys[10:40], 999, 3)
    assert whole.sums(some) == pytest.approx(part.sums(np.vstack([values[10:30], np.zeros((10, 2))])), abs=1e-5)
    assert np.abs(whole.sums(values).mean(axis=0)).max() < 0.6
    assert whole.sums(values).var(axis=0) == pytest.approx((values**2).sum(axis=0), rel=0.15)
    assert not np.allclose(draw_signs(keys, 999, 4).sums(values), whole.sums(values))


def test_signs_are_as_often_up_as_down_and_images_are_independent():
    signs = draw_signs(np.arange(40, dtype=np.uint64), 4096, 0).sums(np.eye(40))
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert np.abs(signs.mean(axis=0)).max() < 4.5 / 64
    together = signs.T @ signs / 4096
    assert np.abs(together - np.eye(40)).max() < 5 / 64


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.floats(0.01, 0.99), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_score_intervals_hold_the_mean_and_stay_within_bounds(extra, share, seed):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(extra)), np.array(extra) + 1)
    scores = (rng.uniform(size=(len(codes), 2)) < share).astype(float)
    value, low, high = score_intervals([as_task(scores, codes)], np.arange(2), len(extra))
    assert value == pytest.approx(scores.mean(axis=0))
    if len(extra) == 1:
        assert np.isnan([low, high]).all()
        return
    assert (low >= 0).all()
    assert (high <= 1).all()
    assert (low < value + 1e-12).all()
    assert (high > value - 1e-12).all()
    assert (high - low > 0).all()


def test_score_intervals_of_right_and_wrong_mirror_each_other():
    scores, codes = binary_cells()
    _, low, high = score_intervals([as_task(scores, codes)], np.arange(4), 40)
    _, low_wrong, high_wrong = score_intervals([as_task(1 - scores, codes)], np.arange(4), 40)
    assert low_wrong == pytest.approx(1 - high)
    assert high_wrong == pytest.approx(1 - low)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=12))
def test_the_distribution_of_flipped_sums_is_that_of_every_sign(sizes):
    every = (np.arange(2 ** len(sizes))[:, None] >> np.arange(len(sizes)) & 1) * 2 - 1
    expected = np.bincount((every @ np.array(sizes) + sum(sizes)) // 2, minlength=sum(sizes) + 1) / 2 ** len(sizes)
    assert flip_distribution(np.array(sizes)) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.sampled_from([-2, -1, -0.3, 0, 0.3, 0.6, 1]), min_size=1, max_size=30))
def test_sign_flip_is_blind_to_the_sign_of_everything(differences):
    d = np.array(differences)
    assert sign_flip(d).p == pytest.approx(sign_flip(-d).p, abs=1e-12)


@given(st.lists(st.sampled_from([-2, -1, 1, 3]), min_size=1, max_size=14), st.sampled_from([0.3, 0.05, 0.01]))
def test_a_statistic_beyond_the_critical_value_is_one_whose_p_is_small(differences, level):
    found = sign_flip(np.array(differences, dtype=float))
    assert (found.statistic > found.critical(level) + 1e-9) == (found.p <= level)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 7))
@settings(max_examples=40, deadline=None)
def test_many_comparisons_share_distributions_only_where_all_signs_agree(seed, count, images):
    """Every comparison's tail and critical value, from all of its own signs written out."""
    rng = np.random.default_rng(seed)
    differences = rng.integers(-3, 4, size=(images, count)) * rng.choice([1.0, 0.1, 1 / 3], count)
    found, which = flips(differences)
    every = (np.arange(2**images)[:, None] >> np.arange(images) & 1) * 2 - 1
    for at in range(count):
        d = differences[:, at]
        norm = np.linalg.norm(d) or 1.0
        sums, own = np.abs(every @ d) / norm, abs(d.sum()) / norm
        assert found[which[at]].exact
        assert found[which[at]].reach(own) == pytest.approx((sums >= own - 1e-9).mean(), abs=1e-12)
        critical = found[which[at]].critical(0.2)
        assert (sums > critical + 1e-9).mean() <= 0.2 + 1e-12 < (sums > critical - 1e-9).mean() + 1e-9


def test_comparisons_off_every_lattice_have_signs_of_their_own():
    rng = np.random.default_rng(1)
    differences = np.stack([rng.normal(size=30), rng.normal(size=30), rng.integers(-1, 2, 30)], axis=1)
    found, which = flips(differences, resamples=99)
    assert [found[at].exact for at in which] == [False, False, True]
    assert which[0] != which[1]
    for at in range(3):
        assert sign_flip(differences[:, at], resamples=99).p == found[which[at]].reach(
            sign_flip(differences[:, at], resamples=99).statistic
        )


def test_an_image_has_the_signs_of_the_stream_that_its_key_begins():
    keys = np.array([5, 2**63 + 7, 11], dtype=np.uint64)
    found = Signs(keys, 1000, 9, exact=False).sums(np.eye(3))
    for at, key in enumerate(keys):
        stream = np.random.Philox(key=np.array([9, key], dtype=np.uint64)).random_raw(16)
        bits = np.unpackbits(stream.view(np.uint8), count=1000)
        assert found[:, at].tolist() == (2.0 * bits - 1).tolist()
