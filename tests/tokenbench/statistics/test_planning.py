"""Planned numbers of samples against independent calculations."""

import numpy as np
import pytest
from scipy import optimize, stats

from benchmarks.simulations.planning import Setting, planned, reached
from tokenbench.statistics.planning import (
    TaskDesign,
    detectable_difference,
    family_critical,
    half_width,
    poisson,
    power,
    provable_margin,
    round_up,
    rules_out,
    samples_for,
)

SINGLE = TaskDesign(discordance=0.2, deff=1.0, score=1.0, questions=1.0)


def task(**facts):
    return TaskDesign(**{"discordance": 0.2, "deff": 1.0, "score": 1.0, "questions": 1.0, **facts})


@pytest.mark.parametrize(
    ("shares", "discordance", "scores", "asked", "samples", "expected"),
    [
        ([1], [0.072], [0.8], {"margin": 2}, 2400, 0.82),
        ([300, 5000, 5000, 5000], [0.068, 0.048, 0.038, 0.063], [0.65, 0.8, 0.85, 0.7], {"margin": 2}, 13000, 0.8025),
        ([1, 1], [0.07, 0.086], [0.8, 0.65], {"difference": -3}, 1370, 0.7935),
    ],
)
def test_power_of_another_implementation(shares, discordance, scores, asked, samples, expected):
    tasks = [
        task(share=n, discordance=d, score=m) for n, d, m in zip(shares, discordance, scores, strict=True)
    ]  # fmt: skip
    assert power(samples, tasks, **asked) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("gains", "losses", "sizes", "critical", "low", "high"),
    [
        ([0], [0], [0.1], 1.96, -0.38416, 0.38416),
        ([7], [21], [0.1], 1.96, -2.5823583540596693, -0.36286548606268054),
        ([2, 0], [9, 4], [0.02, 0.3], 2.4, -3.8858112504861846, 0.388),
    ],
)
def test_decisions_are_those_of_known_limits(gains, losses, sizes, critical, low, high):
    step, up, down = np.array(sizes), np.array(gains, float)[:, None], np.array(losses, float)[:, None]
    for nudge, decided in ((-1e-9, False), (1e-9, True)):
        assert rules_out(-low + nudge, step, up, down, critical, step.max()) == [decided]
        assert rules_out(high + nudge, step, down, up, critical, step.max()) == [decided]


def test_decisions_are_those_of_limits_found_by_search():
    """Limits by maximising nothing and bisecting everything: the a with a^2 V(a) = c^2, at most one over the largest loss."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        step, critical = rng.uniform(0.01, 0.3, 2), rng.uniform(1.9, 3.2)
        gains, losses, unseen = rng.integers(0, 6, 2), rng.integers(0, 9, 2), rng.uniform(0.01, 0.5)
        steps = np.concatenate([np.repeat(step, gains), -np.repeat(step, losses)])
        cap = max([unseen, *-steps[steps < 0]])

        def left(a, steps=steps, critical=critical):
            return a**2 * (steps**2 / (1 + a * steps)).sum() - critical**2

        end = (1 - 1e-12) / cap
        a = optimize.brentq(left, 0, end, xtol=1e-15) if left(end) > 0 else 1 / cap
        tilted = steps.sum() - critical**2 / a
        low = min(tilted, steps.sum() - critical * np.sqrt((steps**2).sum()))
        for nudge, decided in ((-1e-6, False), (1e-6, True)):
            found = rules_out(-low + nudge, step, gains[:, None], losses[:, None], critical, unseen)
            assert found == [decided]


def test_large_numbers_follow_the_normal_formula():
    both = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    needed = both**2 * 0.2 / 0.02**2
    assert samples_for([SINGLE], difference=-2) == pytest.approx(needed, rel=0.03)
    assert samples_for([SINGLE], margin=2) == pytest.approx(needed, rel=0.03)
    assert half_width(needed, [SINGLE]) == pytest.approx(2 * stats.norm.ppf(0.975) / both)
    assert detectable_difference(needed, [SINGLE]) == pytest.approx(2, rel=0.02)
    assert provable_margin(needed, [SINGLE]) == pytest.approx(2, rel=0.02)


def test_points_are_of_retention_and_tasks_as_large_as_they_are():
    assert samples_for([task(score=0.8)], margin=2) == pytest.approx(samples_for([SINGLE], margin=2) / 0.64, rel=0.03)
    unequal = [task(share=300), *[task(share=5000)] * 3]
    share = np.array([300, 5000, 5000, 5000]) / 15300
    ratio = (1 / share).mean() / 4  # of the variance of the unweighted mean to that with tasks of equal size
    assert ratio > 3.5
    assert samples_for(unequal, difference=-2) == pytest.approx(
        ratio * samples_for([SINGLE] * 4, difference=-2), rel=0.03
    )


def test_design_effects_and_families_take_more():
    assert samples_for([task(deff=2.5, questions=5)], difference=-2) == pytest.approx(
        2.5 * samples_for([SINGLE], difference=-2), rel=0.02
    )
    assert family_critical(15) == pytest.approx(stats.norm.ppf(1 - 0.05 / 30))
    both = np.array([family_critical(15), family_critical(1)]) + stats.norm.ppf(0.8)
    assert samples_for([SINGLE], margin=2, critical=family_critical(15)) == pytest.approx(
        samples_for([SINGLE], margin=2) * (both[0] / both[1]) ** 2, rel=0.03
    )


def test_a_margin_takes_images_however_few_samples_differ():
    """Of 384 images none seen to be lost leaves a loss of 1 % of them possible; six questions an image make it six times the samples."""
    critical = stats.norm.ppf(0.975)
    same = task(discordance=0.0)
    assert samples_for([same], margin=1) == pytest.approx(critical**2 * 100, rel=0.006)
    assert samples_for([task(discordance=0.0, questions=6.0)], margin=1) == pytest.approx(
        6 * critical**2 * 100, rel=0.003
    )
    assert power(384, [same], margin=1) == 0
    assert power(386, [same], margin=1) == 1
    assert samples_for([same] * 3, margin=1) == pytest.approx(
        critical**2 * 100, rel=0.006
    )  # tasks of even size: in all


def test_intervals_are_never_narrower_than_what_images_not_seen_may_hide():
    assert half_width(300, [task(discordance=0.0)]) == pytest.approx(
        stats.norm.ppf(0.975) ** 2 * 100 / 300
    )  # one of 300 images
    assert half_width(300, [task(discordance=0.0, score=0.5, questions=6.0)]) == pytest.approx(
        stats.norm.ppf(0.975) ** 2 * 200 / 50
    )


def test_an_image_in_two_tasks_may_be_lost_in_both():
    two = [task(discordance=0.0, overlap=2.0)] * 2
    assert half_width(600, two) == pytest.approx(
        stats.norm.ppf(0.975) ** 2 * 100 / 300
    )  # 300 images, asked once in each task


def test_what_single_samples_show_pays_for_whole_images_unseen():
    """Five of 1,800 answers lost, each on an image of six of its own: 0.3032 points may be lost by an image unseen, for one lost whole 0.3333."""
    critical = stats.norm.ppf(0.975)
    found = half_width(1800, [task(discordance=5 / 1800, questions=6.0)])
    assert found == pytest.approx(critical**2 * 0.30320380661, rel=1e-4)
    whole = half_width(1800, [task(discordance=5 / 1800, deff=6.0, questions=6.0)])
    assert whole == pytest.approx(critical**2 / 3)  # images that changed as a whole pay nothing


def test_a_single_loss_too_few_shows_no_difference():
    """Five lost answers of five have a sign-flip p of 1/16; six have 1/32."""
    sure = task(discordance=0.0)
    for lost, expected in ((6.0, stats.poisson.sf(5, 6)), (20.0, stats.poisson.sf(5, 20))):
        assert power(1000, [sure], difference=-lost / 10) == pytest.approx(expected, abs=0.01)


def test_power_grows_with_samples_and_margin():
    design = [task(share=2, discordance=0.05, score=0.7), task(discordance=0.1, deff=1.5, questions=3, score=0.6)]
    powers = [power(n, design, margin=2) for n in (300, 600, 1200, 2400, 4800, 9600)]
    assert powers == sorted(powers)
    assert powers[0] < 0.1
    assert powers[-1] > 0.9
    n = samples_for(design, margin=2)
    assert power(n, design, margin=2) >= 0.8 > power(0.97 * n, design, margin=2)
    losing = samples_for(design, margin=2, difference=-1)
    assert losing == pytest.approx(4 * n, rel=0.1)


def test_where_vanilla_is_near_zero_the_mean_score_is_planned_for():
    usual = [task(score=0.8), task(score=0.6)]
    near = [task(score=0.8), task(score=0.02)]
    assert half_width(1000, usual, 2.0) / 2 == pytest.approx(100 * np.sqrt(0.2 / 500 * (1 / 1.6**2 + 1 / 1.2**2)))
    assert half_width(1000, near, 2.0) / 2 == pytest.approx(100 * np.sqrt(0.2 / 500 * 2) / 0.82)


def test_nothing_to_show_is_an_error():
    with pytest.raises(ValueError, match="nothing to show"):
        samples_for([SINGLE], difference=0.0)
    with pytest.raises(ValueError, match="nothing to show"):
        samples_for([SINGLE], margin=1, difference=-1)
    with pytest.raises(ValueError, match="cannot be like this"):
        task(score=0.0)


@pytest.mark.parametrize(
    "setting",
    [
        Setting("small", 9, (1, 3), (0.6, 0.8), 0.25, whole=0.3, questions=3),
        Setting("small", None, (1, 3), (0.6, 0.8), 0.25, loss=12),
    ],
)
def test_the_planned_power_is_reached_by_the_decision_of_reports(setting):
    number, expected = planned(setting, 10_000)
    share = np.mean([reached(setting, number, seed, 25) for seed in range(4)]) / 25
    assert expected == pytest.approx(0.8, abs=0.02)
    assert share == pytest.approx(0.8, abs=0.12)  # three standard errors


@pytest.mark.parametrize("mean", [0.0, 0.3, 7.0, 400.0, 9999.0, 2e4])
def test_counts_are_poisson(mean):
    uniform = np.linspace(0.0005, 0.9995, 1000)
    expected = stats.poisson.ppf(uniform, mean)
    assert np.abs(poisson(uniform, mean) - expected).max() <= (0 if mean < 1e4 else 1)


@pytest.mark.parametrize(
    ("exact", "shown"), [(1, 1), (9.2, 10), (99, 99), (101, 110), (52538, 53000), (53000, 53000), (390001, 400000)]
)
def test_planned_numbers_have_two_digits(exact, shown):
    assert round_up(exact) == shown
