"""Rows of the tables say what their intervals, levels, margins and scales mean."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.tokenbench.comparison.test_comparison import row, run, words
from tokenbench.comparison import MEAN, Looks, compare

SPOILS = {(f"s{at}", "1/3", 0): spoils for at, spoils in enumerate((0.0, 0.01, 0.02, 0.04, 0.05, 0.06, 0.08, 0.1))}


def single_tasks(found):
    pairs = found.pairs[found.pairs["family"] == "F3"]
    return pairs.assign(shown=[verdict.sign != 0 for verdict in pairs["verdict"]])


def test_on_single_tasks_a_difference_is_shown_exactly_where_the_false_discovery_rate_allows_it():
    """The p of the table is Benjamini and Hochberg's; neither raw p nor Bonferroni's would show the same."""
    pairs = single_tasks(compare(run(SPOILS, tasks=("ocr",), images=150), resamples=99))
    assert pairs["shown"].tolist() == (pairs["p"] <= 0.05).tolist()
    raw, bonferroni = pairs["p_unadjusted"] <= 0.05, pairs["p_unadjusted"] <= 0.05 / len(pairs)
    assert (raw & ~pairs["shown"]).any()
    assert (pairs["shown"] & ~bonferroni).any()


def test_at_a_later_look_single_tasks_are_judged_with_the_error_that_is_left():
    """Pocock's spending leaves 0.05 - 0.05 ln(1 + (e - 1) / 2) = 0.019 to the second of two looks."""
    samples = run(SPOILS, tasks=("ocr",), images=150)
    image = samples["cluster"].str.rpartition("-")[2].astype(int)
    looks = Looks(True, {"ocr": 150}, (0.5, 1.0), "pocock", ({"ocr": 75}, {"ocr": 150}), 2)
    pairs = single_tasks(compare(samples.assign(look=1 + (image >= 75)), resamples=99, looks=looks))
    discovered = stats.false_discovery_control(pairs["p_unadjusted"])
    assert pairs["shown"].tolist() == (discovered <= 0.05 - 0.05 * np.log((1 + np.e) / 2)).tolist()
    assert ((discovered <= 0.05) & ~pairs["shown"]).any()
    assert pairs["shown"].tolist() == (pairs["p"] <= 0.05).tolist()


@pytest.mark.parametrize("spending", ["pocock", "obrien-fleming"])
def test_a_look_that_has_no_error_left_shows_nothing_on_single_tasks(spending):
    """The first look saw all images and spent everything, so that nothing is left to the second."""
    samples = run(SPOILS, tasks=("ocr",), images=150)
    looks = Looks(True, {"ocr": 150}, (1.0, 1.0), spending, ({"ocr": 150}, {"ocr": 150}), 2)
    pairs = single_tasks(compare(samples.assign(look=1), resamples=99, looks=looks))
    assert not pairs["shown"].any()
    assert (pairs["p"] > 0.05).all()


def test_seeds_that_may_move_all_samples_count_on_single_tasks_as_well():
    samples = run({("random", "1/3", seed): 0.1 * seed for seed in range(4)}, tasks=("ocr",), images=200)
    p = {
        scope: row(compare(samples, resamples=99, scopes={"random": scope}).pairs, family="F3")["p_unadjusted"]
        for scope in ("run", "sample")
    }
    assert p["run"] > 0.01 > p["sample"]


@pytest.mark.parametrize(
    ("margin", "verdict"),
    [(1.0, "loses more than 1"), (4.0, "worse"), (12.0, "worse, but non-inferior within 12")],
)
def test_the_margin_that_was_declared_is_the_one_that_is_judged(margin, verdict):
    found = compare(run({("bad", "1/3", 0): 0.04}, images=400), resamples=199, margin=margin)
    pair = row(found.pairs, task=MEAN)
    assert -0.12 < pair["low"] < -0.04 < pair["high"] < -0.01
    assert words(found.pairs[found.pairs["task"] == MEAN]) == {verdict}


@pytest.mark.parametrize(("right", "ratio"), [(8, False), (30, True)])
def test_vanilla_is_far_enough_from_zero_when_its_lower_limit_is_above_5_per_cent(right, ratio):
    """8 of 100 may well be 4 %: Clopper and Pearson's lower limit is 3.5 %, that of 30 of 100 is 21 %."""
    samples = run({("good", "1/3", 0): 0.0}, tasks=("easy", "hard"), images=100, per=1)
    hard = samples["task"] == "hard"
    samples.loc[hard, "score"] = (samples["sample"].str.rpartition("-")[2].astype(int) < right)[hard].astype(float)
    assert compare(samples, resamples=99).ratio_of_means == (() if ratio else ("toy",))
    alone = compare(samples[hard], resamples=99)
    assert words(alone.pairs[alone.pairs["task"] == MEAN]) != {"accuracy kept is not defined"} or not ratio
    assert (alone.pairs.loc[alone.pairs["task"] == MEAN, "low"].notna().all()) == ratio


def test_with_missing_answers_an_interval_holds_those_of_both_ends_and_p_is_the_largest():
    """The ends are filled in by hand here, and compared as any samples are."""
    samples = run({("fails", "1/3", 0): 0.03, ("good", "1/3", 0): 0.02}, images=200)
    own = samples["strategy"] == "fails"
    lost = samples.loc[own & (samples["task"] == "ocr"), "sample"].head(120)
    gone = own & samples["sample"].isin(lost)
    vanilla = samples[samples["strategy"] == "vanilla"].set_index("sample")["score"]
    ends = [
        samples.assign(score=samples["score"].where(~gone, 0.0)),
        samples.assign(score=samples["score"].where(~gone, samples["sample"].map(vanilla))),
        samples[~samples["sample"].isin(lost)],  # what every cell has
    ]
    rows = [row(compare(end, resamples=499).pairs, a="fails", b="vanilla", task=MEAN) for end in ends]
    found = row(compare(samples[~gone], resamples=499).pairs, a="fails", b="vanilla", task=MEAN)
    lows, highs = [one["low"] for one in rows], [one["high"] for one in rows]
    assert len({*lows}) == len({*highs}) == 3
    assert (found["low"], found["high"]) == pytest.approx((min(lows), max(highs)), abs=1e-3)
    assert found["p"] == pytest.approx(max(one["p"] for one in rows), abs=0.02)
    assert pd.notna(found["if_wrong"])
    assert (found["if_wrong"], found["if_vanilla"]) == pytest.approx((rows[0]["difference"], rows[1]["difference"]))
