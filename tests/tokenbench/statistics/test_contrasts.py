"""What a difference of cells rests on, by hand: its possible range, how tasks share a shift, and the seeds of both cells."""

import numpy as np
import pytest

from tests.tokenbench.statistics.data import Z, as_task
from tokenbench.statistics import Scale, contrasts, family

PAIRS = [(1, 0), (1, 2)]


def singles(*columns):
    """A task of one sample an image."""
    scores = np.array(columns, dtype=float).T
    return as_task(scores, np.arange(len(scores)))


@pytest.mark.parametrize(
    ("scale", "against_vanilla", "between"),
    [
        (Scale.RETENTION, (-100, 500 / 3), (-800 / 3, 800 / 3)),
        (Scale.RETENTION_OF_MEAN, (-100, 400 / 3), (-700 / 3, 700 / 3)),
        (Scale.SCORE, (-1, 1), (-1, 1)),
    ],
)
def test_a_difference_lies_between_losing_everything_and_winning_all_that_vanilla_gets_wrong(
    scale, against_vanilla, between
):
    """Vanilla is right on 3 of 5 and on 3 of 11 samples: all right is 5/3 and 11/3 of it, (5/3 + 11/3) / 2 = 8/3 on average."""
    if scale is Scale.RETENTION_OF_MEAN:  # 2 / (3/5 + 9/35) = 7/3 of it, with 9 of 35 on the second task
        second = singles(np.arange(35) < 9, np.arange(35) < 5, np.arange(35) < 7)
    else:
        second = singles(np.arange(11) < 3, np.arange(11) < 5, np.arange(11) < 7)
    first = singles(np.arange(5) < 3, np.arange(5) < 2, np.arange(5) < 4)
    found = contrasts([first, second], np.arange(3), PAIRS, scale, 40)
    assert list(zip(found.lowest, found.highest, strict=True)) == [
        pytest.approx(against_vanilla),
        pytest.approx(between),
    ]


@pytest.mark.parametrize("tasks", range(1, 41))
def test_vanilla_that_is_always_right_can_be_equalled_but_not_beaten(tasks):
    """Exactly 0 is possible, whatever is lost in adding up so many tasks: equal answers must never be worse."""
    found = contrasts([singles(np.ones(6), np.ones(6))] * tasks, np.arange(2), [(1, 0)], Scale.RETENTION, 6)
    assert found.highest[0] == 0
    tested = family(found, resamples=99)
    assert tested.low[0] < 0 <= tested.high[0]


def test_tasks_take_their_part_of_a_shift_by_the_variance_of_their_means():
    """The variances are numpy's of single samples, with n - 1: a small task must not pass for a sure one."""
    rng = np.random.default_rng(0)
    scores = [rng.uniform(size=(2, images)) for images in (3, 40)]
    tasks = [singles(*scores[0]), singles(*scores[1])]
    tasks[1] = tasks[1]._replace(index=tasks[1].index + 3)
    variances = np.array([np.var(b - a, ddof=1) / len(a) for a, b in scores])
    share = variances / variances.sum()
    found = contrasts(tasks, np.arange(2), [(1, 0)], Scale.SCORE, 43).shift[:, 0]
    assert found == pytest.approx(np.repeat(share / [3, 40], [3, 40]))


def test_the_seeds_of_both_cells_widen_a_comparison():
    rng = np.random.default_rng(1)
    task = singles(*(rng.uniform(size=(7, 30)) < np.array([0.8, 0.9, 0.5, 0.7, 0.3, 0.8, 0.6])[:, None]))
    cell = np.array([0, 1, 1, 1, 2, 2, 2])
    first, second, both = contrasts([task], cell, [(1, 0), (2, 0), (1, 2)], Scale.SCORE, 30).excess(np.full(3, Z))
    assert min(first, second) > 0
    assert both == pytest.approx(first + second)


def test_of_one_task_the_ratio_of_means_is_the_mean_of_ratios():
    """Vanilla's own chance enters both alike; with a loss of a half it is a large part."""
    rng = np.random.default_rng(2)
    task = singles(rng.uniform(size=50) < 0.5, rng.uniform(size=50) < 0.25, rng.uniform(size=50) < 0.4)
    ratios, means = (
        contrasts([task], np.arange(3), PAIRS, scale, 50) for scale in (Scale.RETENTION, Scale.RETENTION_OF_MEAN)
    )
    assert means.value == pytest.approx(ratios.value)
    assert means.influence == pytest.approx(ratios.influence)
