"""The family's critical values against tables of group-sequential designs, and what must hold of p."""

import numpy as np
import pytest
from scipy import stats

from tests.tokenbench.statistics.data import against_first, as_task, losses
from tokenbench.statistics import Look, Scale, contrasts, family
from tokenbench.statistics.family import _boundary, _draw_correlated, _Looks
from tokenbench.statistics.signs import draw_signs
from tokenbench.statistics.spending import pocock, spend_all


def difference(share, images=600, cells=2, pairs=None):
    """The first images of the same normal scores, and so a little more of them at every look."""
    scores = np.random.default_rng(1).normal(size=(images, cells))
    seen = int(share * images)
    task = as_task(scores[:seen], np.arange(seen))
    pairs = [(at, 0) for at in range(1, cells)] if pairs is None else pairs
    return contrasts([task], np.arange(cells), pairs, Scale.SCORE, images)


def critical(looks, comparisons, images=600, spending=pocock):
    state = _Looks(draw_signs(np.arange(images, dtype=np.uint64), 9999, 0), comparisons)
    for look in looks:
        state.add(look)
    return state.critical(spending, 0.05)


def test_two_looks_have_the_bounds_of_lan_and_demets():
    """Pocock-type spending, half of the data and all: 2.157 and 2.201, for signs of images and for normal statistics.

    Looks taken as independent of each other would need 2.33 at the second, and looks that are not counted 1.96.
    """
    looks = [Look(difference(share), share, np.array([0]), at) for at, share in enumerate((0.5, 1.0))]
    for bounds in critical(looks, 1):
        assert bounds == pytest.approx([2.157, 2.201], abs=0.08)


def test_a_comparison_that_comes_later_is_one_of_the_family_from_then_on():
    """At a second look at the same images, with four strategies more: no statistic, drawn or normal, may leave them out."""
    five, first = difference(1.0, cells=6), difference(1.0, cells=6, pairs=[(1, 0)])
    _, together = critical([Look(five, 1.0, np.arange(5))], 5, spending=spend_all)
    looks = [Look(first, 1.0, np.array([0]), 0), Look(five, 1.0, np.arange(5), 1)]
    flips, normal = critical(looks, 5, spending=lambda look, share, alpha: 0.01 if look == 0 else alpha)
    # 4 of 5 % are left for four new comparisons and one that was looked at: hardly less than 5 % for all five at once.
    assert normal[1] > together[0] - 0.1
    assert flips[1] > together[0] - 0.1


def test_a_single_comparison_is_judged_at_the_normal_critical_value_and_so_are_two_that_are_one():
    one = Look(difference(1.0), 1.0, np.array([0]))
    twice = Look(difference(1.0, pairs=[(1, 0), (1, 0)]), 1.0, np.arange(2))
    assert critical([one], 1, spending=spend_all)[1] == pytest.approx([stats.norm.isf(0.025)])
    assert critical([twice], 2, spending=spend_all)[1] == pytest.approx([stats.norm.isf(0.025)], abs=0.05)


def test_too_few_draws_for_a_small_error_leave_bonferronis_bound():
    draws = np.linspace(0, 3, 99)
    assert _boundary([draws], [1e-4], [3.9], 1) == [3.9]
    assert _boundary([draws], [1e-4], [2.0], 1) == pytest.approx([3.0], abs=1e-4)


def test_random_signs_never_make_p_smaller_than_the_signs_observed_allow():
    """Forty images that all lose: none of 99 random sign vectors comes near, and p is one in a hundred."""
    found = family(against_first(losses(40, 1, 40), Scale.SCORE), resamples=99)
    assert not found.exact
    assert found.p[0] == pytest.approx(1 / 100)


def test_what_is_close_to_the_critical_value_is_tested_on_ten_times_as_many_signs():
    def p(lost):
        return 100 * family(against_first(losses(300, 1, lost), Scale.SCORE), resamples=99).p[0]

    assert p(6) % 1 == pytest.approx(p(6) - np.floor(p(6)))
    close = [p(lost) for lost in (4, 5, 6)]
    assert any(abs(one - round(one)) > 1e-6 for one in close)  # in thousandths
    assert abs(p(40) - round(p(40))) < 1e-6  # in hundredths


def test_every_comparison_and_not_the_first_alone_sets_the_critical_value():
    """Ten independent differences at once: the critical value of the largest of ten normal ones."""
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(500, 20))
    pairs = [(2 * at, 2 * at + 1) for at in range(10)]
    found = contrasts([as_task(scores, np.arange(500))], np.arange(20), pairs, Scale.SCORE, 500)
    flips, normal = critical([Look(found, 1.0, np.arange(10))], 10, 500, spend_all)
    expected = stats.norm.isf((1 - 0.95 ** (1 / 10)) / 2)
    assert (flips[0], normal[0]) == pytest.approx((expected, expected), abs=0.06)


def test_looks_that_exclude_each_other_leave_the_last_one():
    """Everything is won on the first forty images, and lost on four hundred that follow."""
    scores = np.zeros((440, 2))
    scores[:40, 1], scores[40:, 0] = 1, 1
    looks = []
    for number, seen in enumerate((40, 440)):
        found = contrasts([as_task(scores[:seen], np.arange(seen))], np.arange(2), [(1, 0)], Scale.SCORE, 440)
        looks.append(Look(found, seen / 440, np.array([0]), number))
    first, last = family(looks[:1], pocock, resamples=999), family(looks, pocock, resamples=999)
    assert first.low[0] > 0
    assert last.disjoint[0]
    assert -1 <= last.low[0] < last.value[0] < last.high[0] < 0


@pytest.mark.parametrize(("images", "large"), [(5, 3), (40, 3), (5, 1000)])
def test_normal_statistics_are_correlated_as_the_differences_are(monkeypatch, images, large):
    """On few images without eigenvectors, otherwise with them: against numpy's correlations of the influences about zero."""
    monkeypatch.setitem(_draw_correlated.__globals__, "LARGE", large)
    influence = np.random.default_rng(3).normal(size=(images, 8))
    influence = np.vstack([influence, -influence])  # columns with mean zero, whose correlations are np.corrcoef's
    drawn = _draw_correlated(np.random.default_rng(4), 40_000, influence[:images] if large == 3 else influence)
    assert np.allclose(drawn.T @ drawn / 40_000, np.corrcoef(influence.T), atol=0.03)
