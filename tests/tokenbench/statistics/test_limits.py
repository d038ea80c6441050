"""One interval a comparison: it agrees with its test, never gets better with one more lost answer, and stays within what is possible."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.tokenbench.statistics.data import Z, against_first, as_task, losses
from tokenbench.comparison.verdicts import Kind, judge_against_vanilla
from tokenbench.statistics import Critical, Scale, contrasts, family, limits, score_limits, smallest_margin
from tokenbench.statistics.tilt import tilted_limits

PAIR = ((0, 1), (1, 0))
BADNESS = [
    Kind.BETTER,
    Kind.EQUIVALENT,
    Kind.NON_INFERIOR,
    Kind.NOT_DECIDED,
    Kind.WORSE_BUT_NON_INFERIOR,
    Kind.WORSE,
    Kind.LOSES_MORE,
]


@pytest.mark.parametrize(("images", "questions", "most"), [(300, 6, 60), (50, 4, 50), (400, 1, 60)])
def test_one_more_lost_answer_never_makes_a_limit_or_a_verdict_better(images, questions, most):
    lows, highs, kinds = [], [], []
    for lost in range(most + 1):
        found = family(against_first(losses(images, questions, lost), Scale.RETENTION), resamples=1999)
        lows.append(found.low[0])
        highs.append(found.high[0])
        kinds.append(judge_against_vanilla(found.low[0], found.high[0], 1.0).kind)
    assert (np.diff(lows) < 1e-9).all()
    # The critical value of so few images is a quantile of random signs: equal limits may differ by its last digits.
    assert (np.diff(highs) < 0.02).all()
    assert all(BADNESS.index(a) <= BADNESS.index(b) for a, b in pairwise(kinds))
    assert kinds[0] in (Kind.NOT_DECIDED, Kind.EQUIVALENT)


def test_images_that_can_show_a_margin_are_as_many_as_the_rule_says():
    """No loss among G images of even size shows non-inferiority within d points once G >= 1.96^2 * 100 / d."""
    for images in (380, 384, 385, 390):
        found = family(against_first(losses(images, 1, 0), Scale.RETENTION), resamples=999)
        said = judge_against_vanilla(found.low[0], found.high[0], 1.0).kind
        assert (said is Kind.EQUIVALENT) == (images >= Z**2 * 100)
        assert found.smallest_margin[0] == pytest.approx(Z**2 * 100 / images)


def random_tasks(seed, tasks, images, cells, partial=False):
    rng = np.random.default_rng(seed)
    found = []
    for task in range(tasks):
        codes = np.repeat(np.arange(images), rng.integers(1, 4, images))
        right = rng.uniform(size=(len(codes), 1)) < 0.85
        flips = rng.uniform(size=(len(codes), cells)) < np.linspace(0, 0.3, cells)
        scores = np.where(flips, rng.choice([0, 0.3, 1] if partial else [0, 1], size=flips.shape), right)
        found.append(as_task(scores.astype(float), codes + task * (images // 2)))  # half of the images are shared
    return found


@given(
    st.integers(0, 2**31), st.integers(1, 3), st.sampled_from([6, 15, 40]), st.sampled_from(list(Scale)), st.booleans()
)
@settings(max_examples=40, deadline=None)
def test_the_interval_excludes_zero_exactly_where_p_is_small(seed, tasks, images, scale, partial):
    differences = against_first(random_tasks(seed, tasks, images, 4, partial), scale)
    found = family(differences, resamples=499, seed=seed % 1000)
    bounded = ~np.isnan(found.low)
    assert ((found.low > 0) | (found.high < 0))[bounded].tolist() == (found.p <= 0.05)[bounded].tolist()
    assert np.isnan(found.p[~bounded]).all()
    assert (found.low <= found.value + 1e-9)[bounded].all()
    assert (found.high >= found.value - 1e-9)[bounded].all()
    assert (found.low >= differences.lowest)[bounded].all()
    assert (found.high <= differences.highest)[bounded].all()
    if scale is not Scale.SCORE:
        assert (found.low >= -100 - 1e-9)[bounded].all()


@given(st.integers(0, 2**31), st.booleans())
@settings(max_examples=10, deadline=None)
def test_a_lost_answer_never_raises_the_lower_limit_on_any_data(seed, clustered):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(60), 4) if clustered else np.arange(240)
    scores = np.repeat((rng.uniform(size=(240, 1)) < 0.9).astype(float), 2, axis=1)
    lost = rng.permutation(np.flatnonzero(scores[:, 1]))[:12]
    scores[lost[:4], 1] = 0
    before = family(against_first([as_task(scores, codes)], Scale.RETENTION), resamples=999)
    for sample in lost[4:]:
        scores[sample, 1] = 0
        after = family(against_first([as_task(scores, codes)], Scale.RETENTION), resamples=999)
        assert after.low[0] <= before.low[0] + 0.02
        before = after


@pytest.mark.parametrize("lost", [0, 4, 12, 40])
@pytest.mark.parametrize(("images", "questions"), [(300, 6), (60, 4)])
def test_gains_have_the_limits_of_losses_turned_round(images, questions, lost):
    """Shown or not: which cell is called the first decides nothing."""
    task = losses(images, questions, lost)
    there, back = (family(contrasts(task, np.arange(2), [pair], Scale.SCORE, images), resamples=999) for pair in PAIR)
    assert (back.low[0], back.high[0]) == pytest.approx((-there.high[0], -there.low[0]), abs=1e-12)
    assert (there.low[0] > 0) == (back.high[0] < 0) == (there.p[0] <= 0.05) == (lost > 5)


def test_a_difference_that_is_shown_is_shown_by_as_much_as_single_answers_say():
    """Towards 0 no unseen image larger than one answer is allowed for: the limit is the wider of the flips' and that one."""
    found = against_first(losses(300, 6, 12))
    flips, z = np.array([2.1]), np.array([Z])
    _, flipped = score_limits(found.value, found.influence, found.shift, flips)
    _, answer = tilted_limits(found.value, found.influence, z, 1 / 1800)
    _, image = tilted_limits(found.value, found.influence, z, found.sizes.unseen(z))
    _, high = limits(found, Critical(flips, z), np.array([True]))
    assert image[0] > max(flipped[0], answer[0]) + 1e-4
    assert high[0] == pytest.approx(max(flipped[0], answer[0]))
    assert limits(found, Critical(flips, z), np.array([False]))[1][0] >= 0


def test_a_shown_difference_never_reaches_zero_on_either_side():
    """Six images that all lose, or gain: the signs reject, while the other limits would still hold 0."""
    for sign in (1, -1):
        found = against_first(losses(60, 1, 6))
        turned = replace(found, value=sign * found.value, influence=sign * found.influence)
        critical = Critical(np.array([2.4]), np.array([3.5]))
        low, high = limits(turned, critical, np.array([True]))
        assert low[0] > 0 if sign < 0 else high[0] < 0


def test_a_difference_that_is_not_shown_holds_zero_on_either_side():
    """Whatever the limits would say by themselves."""
    for pair in PAIR:
        found = contrasts(losses(60, 1, 30), np.arange(2), [pair], Scale.SCORE, 60)
        low, high = limits(found, Critical(np.array([1.0]), np.array([1.0])), np.array([False]))
        assert low[0] <= 0 <= high[0]


def test_limits_of_the_flips_are_where_the_score_statistic_reaches_the_critical_value():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 6, 30).astype(float)
    sums = rng.integers(-2, 4, 30).astype(float)
    estimate = sums.sum() / sizes.sum()
    psi, shift = (sums - sizes * estimate) / sizes.sum(), sizes / sizes.sum()
    for limit in score_limits(np.array([estimate]), psi[:, None], shift[:, None], np.array([2.1])):
        rest = sums - sizes * limit[0]
        assert abs(rest.sum()) / np.linalg.norm(rest) == pytest.approx(2.1)


def test_with_many_discordant_answers_the_limits_are_those_of_a_paired_t_interval():
    rng = np.random.default_rng(1)
    scores = (rng.uniform(size=(6000, 2)) < [0.7, 0.6]).astype(float)
    found = family(against_first([as_task(scores, np.arange(6000))]), resamples=9999)
    expected = stats.ttest_rel(scores[:, 1], scores[:, 0]).confidence_interval(0.95)
    assert (found.low[0], found.high[0]) == pytest.approx((expected.low, expected.high), abs=8e-4)


def test_the_interval_of_one_of_many_comparisons_is_dunnetts():
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(4000, 6)) * 0.1 + 0.5
    found = family(against_first([as_task(scores, np.arange(4000))]), resamples=9999)
    # Five independent cells against one control are correlated by one half: Dunnett's critical value for many degrees of freedom.
    expected = stats.multivariate_normal(np.zeros(5), np.full((5, 5), 0.5) + 0.5 * np.eye(5))
    critical = found.critical[0]
    inside = np.mean((np.abs(expected.rvs(200_000, random_state=0)) <= critical).all(axis=1))
    assert inside == pytest.approx(0.95, abs=0.006)


def test_fewer_than_six_one_sided_images_are_never_worse():
    p = [family(against_first(losses(300, 6, lost), Scale.RETENTION), resamples=9999).p[0] for lost in (5, 6)]
    assert p[0] > 0.05 >= p[1]
    assert p == pytest.approx([2 / 2**5, 2 / 2**6], abs=0.008)


def test_the_smallest_margin_is_the_lower_limit_of_no_difference():
    """Of data with gains and losses that cancel, as many images as this can show no smaller margin."""
    scores = np.ones((600, 2))
    scores[:10, 0], scores[10:20, 1] = 0, 0
    differences = against_first([as_task(scores, np.arange(600))], Scale.RETENTION)
    found = family(differences, resamples=999)
    assert found.value[0] == pytest.approx(0)
    assert smallest_margin(differences, np.array([Z]))[0] == pytest.approx(found.smallest_margin[0])
    assert -found.low[0] == pytest.approx(found.smallest_margin[0], rel=0.1)
