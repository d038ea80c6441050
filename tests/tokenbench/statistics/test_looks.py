"""Looking at data that grow: how error is spent, that intervals of all looks hold together, and that nothing else changes."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.tokenbench.statistics.data import against_first, as_task
from tokenbench.statistics import Look, Scale, TaskSums, contrasts, family, statistic
from tokenbench.statistics.family import TIE, _boundary
from tokenbench.statistics.limits import null_norm
from tokenbench.statistics.spending import SPENDING, obrien_fleming, open_ended, pocock, spend_all

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "vectors-2.json").read_text())


@pytest.mark.parametrize("case", [case for case in VECTORS["spending"] if "share" in case])
def test_recorded_spending(case):
    assert obrien_fleming(0, case["share"], 0.05) == pytest.approx(case["obrien_fleming"])
    assert pocock(0, case["share"], 0.05) == pytest.approx(case["pocock"])


@pytest.mark.parametrize("case", [case for case in VECTORS["spending"] if "look" in case])
def test_recorded_open_ended_spending(case):
    assert open_ended(case["look"] - 1, 1.0, 0.05) == pytest.approx(case["open_ended"])


@pytest.mark.parametrize("name", SPENDING)
def test_spending_rises_and_never_exceeds_the_error(name):
    spent = [SPENDING[name](at, share, 0.05) for at, share in enumerate(np.linspace(0.05, 1, 20))]
    assert (np.diff(spent) > 0).all()
    assert spent[-1] <= 0.05 + 1e-12


@pytest.mark.parametrize("spending", [obrien_fleming, pocock])
def test_past_the_declared_maximum_nothing_more_can_be_spent(spending):
    assert spending(5, 1.0, 0.05) == pytest.approx(0.05)
    assert spending(5, 1.7, 0.05) == spending(5, 1.0, 0.05)


def prefix(task, share):
    images = int(np.ceil(share * len(task.index)))
    return TaskSums(task.index[:images], task.sizes[:images], task.sums[:images])


def test_recorded_looks():
    """Critical values of two looks with given signs; a draw that crossed the first is out at the second."""
    case = VECTORS["sequential"][0]
    signs = np.array(case["signs"], dtype=float)
    tasks = [TaskSums(*(np.array(task[name]) for name in ("index", "sizes", "sums"))) for task in case["tasks"]]
    pairs = [tuple(pair) for pair in case["pairs"]]
    maxima, spent = [], []
    for look in case["looks"]:
        seen = [prefix(task, look["share"]) for task in tasks]
        found = contrasts(seen, np.arange(4), pairs, Scale.RETENTION, case["clusters"])
        assert found.value == pytest.approx(np.array(look["estimate"]))
        imposed = (found.influence + found.value * found.shift) / null_norm(found)
        maxima.append(np.abs(signs @ imposed).max(axis=1))
        crossed = sum(before["crossed"] for before in case["looks"][: len(spent)][-1:])
        spent.append((look["allowed_draws"] + crossed) / len(signs))
    found = _boundary(maxima, spent, [9.0, 9.0], 0)
    assert found == pytest.approx([look["critical"] for look in case["looks"]], abs=2 * TIE)


def grown(rng, images, cells, shares, effect=0.0):
    """Contrasts on the first images, more and more of them; two questions an image."""
    codes = np.repeat(np.arange(images), 2)
    latent = rng.normal(size=(images, 1)).repeat(2, axis=0) + rng.normal(size=(len(codes), cells))
    scores = (latent + 0.8 - effect * (np.arange(cells) > 0) > 0).astype(float)
    looks = []
    for number, share in enumerate(shares):
        seen = codes < np.ceil(share * images)
        task = as_task(scores[seen], codes[seen])
        found = contrasts([task], np.arange(cells), [(at, 0) for at in range(1, cells)], Scale.SCORE, images)
        looks.append(Look(found, share, np.arange(cells - 1), number))
    return looks


def test_one_look_at_everything_is_the_plain_family():
    looks = grown(np.random.default_rng(0), 120, 4, [1.0], 0.2)
    plain, looked = family(looks[0].contrasts, resamples=499), family(looks, obrien_fleming, resamples=499)
    for name in ("low", "high", "p"):
        assert getattr(looked, name) == pytest.approx(getattr(plain, name), abs=1e-9), name


def test_intervals_of_all_looks_are_cut_with_each_other_and_decide_the_verdict():
    shares = [0.25, 0.5, 0.75, 1.0]
    looks = grown(np.random.default_rng(3), 200, 4, shares, 0.35)
    whole = family(looks, pocock, resamples=999)
    earlier = [family(looks[:n], pocock, resamples=999) for n in (1, 2, 3)]
    for before in earlier:
        assert (whole.low >= before.low - 1e-6).all()
        assert (whole.high <= before.high + 1e-6).all()
    assert ((whole.low > 0) | (whole.high < 0)).tolist() == (whole.p <= 0.05).tolist()
    assert (whole.p <= 0.05).any()


@pytest.mark.parametrize("spending", [obrien_fleming, pocock, open_ended])
@pytest.mark.parametrize("effect", [0.1, 0.2, 0.3, 0.4])
def test_at_a_first_look_p_is_at_most_the_error_exactly_where_the_interval_excludes_0(spending, effect):
    looks = grown(np.random.default_rng(5), 120, 6, [0.5], effect)
    found = family(looks, spending, resamples=999)
    assert (found.p <= 0.05).tolist() == ((found.low > 0) | (found.high < 0)).tolist()
    plain = family(looks, resamples=999).p
    assert (found.p >= plain).all()
    if spending is open_ended:  # of an error, the first look may spend a half
        assert found.p == pytest.approx(np.minimum(2 * plain, 1.0))
    assert spending is obrien_fleming or (found.p[plain < 1] > plain[plain < 1]).all()


def test_a_difference_that_stopped_keeps_its_interval_and_still_costs_the_others():
    shares = [0.5, 1.0]
    looks = grown(np.random.default_rng(5), 200, 4, shares, 0.3)
    first = family(looks[:1], pocock, resamples=999)
    later = looks[1]
    kept = contrasts(
        [prefix_of(later)], np.arange(4), [(2, 0), (3, 0)], Scale.SCORE, 200
    )  # the first difference stops after the first look
    found = family([looks[0], Look(kept, 1.0, np.array([1, 2]), 1)], pocock, resamples=999)
    # Where another look asks for finer signs, the limits of the first move by their Monte-Carlo error.
    assert (found.low[0], found.high[0]) == pytest.approx((first.low[0], first.high[0]), abs=3e-3)
    assert found.value[0] == first.value[0]
    alone = family([Look(kept, 1.0, np.array([0, 1]), 1)], spend_all, resamples=999)
    assert (found.critical[1:] > alone.critical).all()


def prefix_of(look):
    """Scores that have the cells of a look: a task rebuilt from its own contrasts is not needed, only the same shape of data."""
    rng = np.random.default_rng(5)
    codes = np.repeat(np.arange(200), 2)
    latent = rng.normal(size=(200, 1)).repeat(2, axis=0) + rng.normal(size=(len(codes), 4))
    scores = (latent + 0.8 - 0.3 * (np.arange(4) > 0) > 0).astype(float)
    assert statistic(look.contrasts)[0] == pytest.approx(statistic(against_first([as_task(scores, codes)]))[0])
    return as_task(scores, codes)


def errors(spending, runs, resamples):
    """How often looks of which nothing is true find something: counted, and each by itself."""
    rng, shares = np.random.default_rng(7), [0.25, 0.5, 0.75, 1.0]
    counted = naive = 0
    for run in range(runs):
        looks = grown(rng, 60, 3, shares)
        found = family(looks, spending, resamples=resamples, seed=run)
        counted += bool(((found.low > 0) | (found.high < 0)).any())
        alone = (family(look.contrasts, resamples=resamples, seed=run) for look in looks)
        naive += any(((one.low > 0) | (one.high < 0)).any() for one in alone)
    return counted / runs, naive / runs


def test_error_over_the_looks_is_kept_and_naive_looks_exceed_it():
    counted, naive = errors(pocock, 80, 99)
    assert counted <= 0.12  # 5 % and three Monte-Carlo errors
    assert naive > counted


@pytest.mark.exhaustive
@pytest.mark.parametrize("spending", [obrien_fleming, pocock, open_ended])
def test_error_over_the_looks_is_kept_whatever_the_spending(spending):
    counted, naive = errors(spending, 400, 199)
    assert counted <= 0.083
    assert naive > counted + 0.01


@pytest.mark.slow
def test_bounds_of_many_images_are_those_of_obrien_and_fleming():
    """Five equal looks at one difference: 2.03 at the last look by Lan and DeMets' spending function."""
    found = family(grown(np.random.default_rng(11), 1500, 2, [0.2, 0.4, 0.6, 0.8, 1.0]), obrien_fleming, resamples=9999)
    assert found.critical[0] == pytest.approx(2.03, abs=0.06)
    first = family(grown(np.random.default_rng(11), 1500, 2, [0.2]), obrien_fleming, resamples=999)
    assert first.critical[0] == pytest.approx(stats.norm.isf(obrien_fleming(0, 0.2, 0.05) / 2), abs=0.02)


def test_where_the_looks_have_nothing_in_common_p_is_that_of_the_interval_shown():
    """Forty wins at the first look, then as many images with fifty losses: the last look stands alone, and so does its test."""
    scores = np.ones((480, 2))
    scores[:40, 0], scores[100:150, 1] = 0, 0
    codes = np.arange(480)
    looks = []
    for number, images in enumerate((40, 480)):
        found = contrasts([as_task(scores[:images], codes[:images])], np.arange(2), [(1, 0)], Scale.SCORE, 480)
        looks.append(Look(found, images / 480, np.array([0]), number))
    found = family(looks, open_ended, resamples=999)
    assert found.disjoint[0]
    assert found.low[0] < 0 < found.high[0]
    assert found.p[0] > 0.05


def test_a_difference_that_stopped_is_not_tested_again_by_a_later_bound():
    """Six of a hundred images lost are 2.4 standard errors: within the bound of the first look, and beyond that of the last."""
    scores = np.ones((200, 3))
    scores[:6, 1], scores[100:102, 2] = 0, 0
    codes = np.arange(200)
    first, last = (
        contrasts([as_task(scores[:images], codes[:images])], np.arange(3), pairs, Scale.SCORE, 200)
        for images, pairs in ((100, [(1, 0), (2, 0)]), (200, [(2, 0)]))
    )
    looks = [Look(first, 0.5, np.array([0, 1]), 0), Look(last, 1.0, np.array([1]), 1)]
    found = family(looks, obrien_fleming, resamples=1999)
    assert abs(found.statistic[0]) > found.critical[1] > 1.9
    assert found.low[0] < 0 <= found.high[0]
    assert found.p[0] > 0.05
