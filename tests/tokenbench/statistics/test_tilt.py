"""The tilted variance: recorded cases of another implementation, the restricted likelihood maximised directly, and Tango's interval."""

import json
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from tests.tokenbench.statistics.data import Z, against_first, losses
from tokenbench.statistics import Critical, Scale, TaskSums, contrasts, detectable, family, limits, statistic
from tokenbench.statistics.tilt import tilted_limits, tilted_statistic

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "vectors-2.json").read_text())
SCALES = {
    "mean_of_ratios": Scale.RETENTION,
    "ratio_of_means": Scale.RETENTION_OF_MEAN,
    "score": Scale.SCORE,
}


def tasks_of(case):
    return [TaskSums(*(np.array(task[name]) for name in ("index", "sizes", "sums"))) for task in case["tasks"]]


def contrasts_of(case):
    tasks = tasks_of(case)
    cell = np.array(case.get("cell", range(tasks[0].sums.shape[1])))
    scale = SCALES[case.get("kind", "mean_of_ratios")]
    return contrasts(tasks, cell, [tuple(pair) for pair in case["pairs"]], scale, case["clusters"])


def known(values):
    return np.array([np.nan if value is None else value for value in values], dtype=float)


@pytest.mark.parametrize("case", VECTORS["families"], ids=lambda case: case["kind"])
def test_recorded_families(case):
    found = contrasts_of(case)
    for value, name in (
        (found.value, "estimate"),
        (found.influence, "influence"),
        (found.shift, "shift"),
        (found.sizes.whole, "whole"),
        (found.sizes.paid, "paid"),
    ):
        assert value == pytest.approx(np.array(case[name]), abs=1e-9), name
    assert found.sizes.least == pytest.approx(case["least"])
    assert statistic(found) == pytest.approx(np.array(case["statistic"]), abs=1e-9)
    normal = np.full(len(found.value), case["critical_normal_given"])
    unseen = found.sizes.unseen(normal)
    assert unseen == pytest.approx(np.array(case["unseen_size"]), abs=1e-9)
    low, high = tilted_limits(found.value, found.influence, normal, unseen)
    assert (*low, *high) == pytest.approx((*case["tilted_low"], *case["tilted_high"]), abs=1e-8)
    assert tilted_statistic(found.value, found.influence, -2.0, unseen) == pytest.approx(
        np.array(case["tilted_statistic_at_minus_2"]), abs=1e-8
    )
    assert detectable(found, normal) == pytest.approx(np.array(case["mde"]), abs=1e-8)
    wide = np.full(len(found.value), 1e9)  # the recorded limits are not cut to what is possible
    whole = type(found)(**{**found.__dict__, "lowest": -wide, "highest": wide})
    critical = Critical(np.full(len(normal), case["critical_flips"]), normal)
    low, high = limits(whole, critical, np.array(case["reject"]))
    assert low == pytest.approx(known(case["low"]), abs=1e-5, nan_ok=True)
    assert high == pytest.approx(known(case["high"]), abs=1e-5, nan_ok=True)
    tested = family(found, resamples=1023)
    assert tested.exact
    shown = ~np.isnan(tested.p)
    assert tested.p[shown] == pytest.approx(np.array(case["p_single_step_all_1024_signs"])[shown], abs=1e-12)


@pytest.mark.parametrize("case", VECTORS["seeds"])
def test_recorded_seeds(case):
    found = contrasts_of(case)
    assert found.seeds.between == pytest.approx(np.array(case["seed_variance_over_R"]), abs=1e-9)
    assert found.seeds.interaction == pytest.approx(np.array(case["interaction_over_R"]), abs=1e-9)
    for critical, name in ((1.959964, "excess_at_1_959964"), (2.5, "excess_at_2_5")):
        assert found.excess(np.full(len(found.value), critical)) == pytest.approx(np.array(case[name]), rel=1e-6)
    assert statistic(found) == pytest.approx(np.array(case["statistic"]), abs=1e-9)


@pytest.mark.parametrize("case", VECTORS["one_sided_losses"])
def test_recorded_losses(case):
    [task] = losses(case["images"], case["questions"], case["images_that_lose"], case["answers_lost_each"])
    found = against_first([task], Scale.RETENTION)
    z = np.array([case["critical"]])
    unseen = found.sizes.unseen(z)
    assert (found.value[0], unseen[0]) == pytest.approx((case["estimate"], case["unseen_size"]))
    low, high = tilted_limits(found.value, found.influence, z, unseen)
    assert (low[0], high[0]) == pytest.approx((case["tilted_low"], case["tilted_high"]))
    at = tilted_statistic(found.value, found.influence, -1.0, unseen)[0]
    assert at == pytest.approx(case["statistic_at_minus_1"], abs=1e-9)


def restricted_statistic(value, influence, null, unseen):
    """The score statistic of a compound Poisson sum, with its variance under the null, by a general optimiser.

    Every observed image is a Poisson count of 1; one more image of size ``unseen`` was counted 0 times. The rates that make the mean
    ``null`` and are the most likely give the variance ``sum rate * size^2``.
    """
    sizes = np.append(influence, np.sign(null - value) * unseen)

    def unlikely(rate):
        return float((rate[:-1] - np.log(rate[:-1])).sum() + rate[-1])

    def slope(rate):
        return np.append(1 - 1 / rate[:-1], 1.0)

    found = optimize.minimize(
        unlikely, np.append(np.ones(len(influence)), 0.1), jac=slope, method="SLSQP",
        constraints=[{"type": "eq", "fun": lambda rate: rate @ sizes - (null - value), "jac": lambda rate: sizes}],
        bounds=[(1e-6, None)] * len(influence) + [(0, None)], options={"maxiter": 1000, "ftol": 1e-13},
    )  # fmt: skip
    assert found.success
    return (value - null) / sqrt(found.x @ sizes**2)


@pytest.mark.parametrize("seed", range(8))
def test_the_statistic_is_the_restricted_likelihoods(seed):
    rng = np.random.default_rng(seed)
    influence = rng.normal(size=12)
    influence -= influence.mean()
    for null, unseen in ((3.0, 0.2), (-4.0, 3.0), (0.7, 1.0)):
        expected = restricted_statistic(0.5, influence, null, unseen)
        found = tilted_statistic(np.array([0.5]), influence[:, None], null, unseen)[0]
        assert found == pytest.approx(expected, abs=1e-5)


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 4.0), st.floats(1e-3, 5.0))
@settings(max_examples=60, deadline=None)
def test_limits_are_where_the_statistic_reaches_the_critical_value(seed, critical, unseen):
    influence = np.random.default_rng(seed).normal(size=(9, 1))
    influence -= influence.mean()
    value = np.array([0.25])
    for limit in tilted_limits(value, influence, np.array([critical]), unseen):
        assert abs(tilted_statistic(value, influence, float(limit[0]), unseen)[0]) == pytest.approx(critical, rel=1e-6)


def tango(b, c, n):
    """Limits of Tango (1998) for ``(b - c) / n``, by root finding on his score statistic."""

    def score(x):
        a = 2 * n
        linear = -b - c + (2 * n - b + c) * x
        q = (sqrt(max(linear**2 + 4 * a * c * x * (1 - x), 0.0)) - linear) / (2 * a)
        return (b - c - n * x) / sqrt(max(n * (2 * q + x * (1 - x)), 1e-12))

    middle = (b - c) / n
    low = optimize.brentq(lambda x: score(x) - Z, -0.999999, middle - 1e-9) if c < n else -1.0
    high = optimize.brentq(lambda x: score(x) + Z, middle + 1e-9, 0.999999)
    return low, high


@pytest.mark.parametrize(("n", "b", "c"), [(500, 0, 10), (500, 0, 30), (2000, 0, 30), (500, 30, 50), (500, 5, 5)])
def test_single_answers_have_nearly_tangos_limits(n, b, c):
    vanilla, other = np.zeros(n), np.zeros(n)
    vanilla[:c], other[c : c + b] = 1, 1
    task = TaskSums(np.arange(n), np.ones(n), np.stack([vanilla, other], axis=1))
    found = against_first([task])
    z = np.array([Z])
    low, high = tilted_limits(found.value, found.influence, z, found.sizes.unseen(z))
    expected = tango(b, c, n)
    width = expected[1] - expected[0]
    assert low[0] == pytest.approx(expected[0], abs=0.02 * width)
    assert high[0] == pytest.approx(expected[1], abs=0.02 * width)


def test_agreement_is_no_point():
    found = against_first(losses(500, 1, 0), Scale.RETENTION)
    z = np.array([Z])
    low, high = tilted_limits(found.value, found.influence, z, found.sizes.unseen(z))
    assert (low[0], high[0]) == pytest.approx((-(Z**2) / 5, Z**2 / 5))


def solved_alone(e, goal, power, cap):
    """The a of one difference, from the equation itself and by bisection alone."""
    e = e[e != 0]

    def left(a):
        return a**power * sum(x * x / (1 - a * x) if 1 - a * x > 0 else np.inf for x in e)

    low, high = 0.0, 1 / cap
    if left(high) <= goal:
        return high
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if left(middle) <= goal else (low, middle)
    return low


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(0, 15))
@settings(max_examples=40, deadline=None)
def test_many_differences_have_the_limits_that_each_has_alone(seed, count, images):
    """Differences moved by equally many images are solved together: by the equation alone they are the same."""
    rng = np.random.default_rng(seed)
    influence = rng.integers(-2, 3, size=(images, count)) * rng.uniform(0.1, 2, count)
    value, critical, unseen = rng.normal(size=count), rng.uniform(0.5, 4, count), rng.uniform(0.01, 3, count)
    low, high = tilted_limits(value, influence, critical, unseen)
    for at in range(count):
        for limit, side in ((low[at], -1.0), (high[at], 1.0)):
            e = side * influence[:, at]
            a = solved_alone(e, critical[at] ** 2, 2, max(e.max(initial=0.0), unseen[at]))
            assert side * (limit - value[at]) == pytest.approx(critical[at] ** 2 / a, rel=1e-9)


def test_a_difference_has_the_same_limits_to_the_last_bit_whatever_stands_beside_it():
    rng = np.random.default_rng(3)
    influence = rng.integers(-2, 3, size=(40, 60)) * rng.uniform(0.1, 2, 60)
    value, critical, unseen = rng.normal(size=60), rng.uniform(0.5, 4, 60), rng.uniform(0.01, 3, 60)
    together = tilted_limits(value, influence, critical, unseen)
    for at in range(60):
        one = slice(at, at + 1)
        alone = tilted_limits(value[one], influence[:, one], critical[one], unseen[one])
        assert [side[0] for side in alone] == [side[at] for side in together]
