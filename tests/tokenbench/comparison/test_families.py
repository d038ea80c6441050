"""Which strategies are compared with which, and that what is left out is said and never taken for a result."""

import pandas as pd
import pytest

from tests.tokenbench.comparison.test_comparison import run
from tokenbench import UsageError
from tokenbench.comparison import MEAN, compare, families
from tokenbench.comparison.gates import explain_failure, parse_gate
from tokenbench.comparison.ranking import rank_strategies
from tokenbench.registry.plugins import registry
from tokenbench_reports.findings import Case
from tokenbench_reports.headline import make_headline

SPOILS = {"good": 0.0, "bad": 0.5, "random": 0.3, "downsample": 0.2}
PAIRS = {("bad", "downsample"), ("bad", "random"), ("downsample", "good"), ("downsample", "random"), ("good", "random")}


@pytest.fixture(scope="module")
def samples():
    return run({(name, "1/3", 0): share for name, share in SPOILS.items()})


@pytest.fixture(scope="module")
def whole(samples):
    return compare(samples, resamples=199)


@pytest.fixture
def reduced(samples, monkeypatch):
    monkeypatch.setattr(families, "MOST_PAIRS", 5)  # there are six
    return compare(samples, resamples=199)


def family(comparison, name):
    return comparison.pairs[comparison.pairs["family"] == name].reset_index(drop=True)


def test_of_too_many_pairs_those_with_a_trivial_baseline_are_compared(whole, reduced):
    assert {*zip(family(whole, "F2")["a"], family(whole, "F2")["b"], strict=True)} == PAIRS | {("bad", "good")}
    assert {*zip(family(reduced, "F2")["a"], family(reduced, "F2")["b"], strict=True)} == PAIRS
    assert (whole.left_out, reduced.left_out) == (0, 1)


def test_what_is_compared_with_vanilla_does_not_change(whole, reduced):
    pd.testing.assert_frame_equal(family(whole, "F1"), family(reduced, "F1"), check_exact=True)
    pd.testing.assert_frame_equal(whole.summary, reduced.summary, check_exact=True)


def test_p_is_still_adjusted_for_all_pairs_that_are_shown(reduced):
    """Max-T lies between the p of a pair by itself and Bonferroni's."""
    pairs = family(reduced, "F2")
    assert (pairs["p"] >= pairs["p_unadjusted"]).all()
    assert (pairs["p"] > pairs["p_unadjusted"]).any()
    assert (pairs["p"] <= len(PAIRS) * pairs["p_unadjusted"] + 1e-9).all()


def test_without_all_pairs_there_is_no_rank_and_no_best(whole, reduced):
    assert [ranking.compared for ranking in rank_strategies(whole, "toy")] == [True]
    assert [ranking.compared for ranking in rank_strategies(reduced, "toy")] == [False]
    assert make_headline(whole, "toy").case in (Case.BEST, Case.LEAD, Case.OPEN)
    assert make_headline(reduced, "toy").case is Case.MANY


def test_the_reader_is_told_what_is_left_out_and_how_to_get_it(whole, reduced):
    assert not [text for text in whole.warnings if "--strategies" in text]
    [said] = [text for text in reduced.warnings if "--strategies" in text]
    assert said.startswith("1 pairs of strategies at equal budget are not compared")


def test_a_gate_on_a_pair_that_was_left_out_is_an_error_and_does_not_pass(whole, reduced):
    gate = parse_gate("bad<good@1/3")
    assert explain_failure(gate, whole)
    with pytest.raises(UsageError, match="not compared with each other"):
        explain_failure(gate, reduced)


def test_chosen_strategies_are_compared_as_if_no_others_had_run(samples):
    alone = samples[samples["strategy"].isin(["vanilla", "good", "bad"])]
    chosen, wanted = compare(samples, resamples=199, strategies=["good", "bad"]), compare(alone, resamples=199)
    pd.testing.assert_frame_equal(chosen.pairs, wanted.pairs, check_exact=True)
    pd.testing.assert_frame_equal(chosen.summary, wanted.summary, check_exact=True)
    [said] = set(chosen.warnings) - set(wanted.warnings)
    assert said.startswith("Only good and bad are compared (--strategies)")


def test_a_name_without_a_mark_chooses_what_is_held_apart():
    samples = pd.DataFrame({"strategy": ["vanilla", "vanilla#B", "clse#A", "clse#B", "fastv"]})
    assert [*families.select_strategies(samples, ["clse"])["strategy"]] == ["vanilla", "clse#A", "clse#B"]
    assert [*families.select_strategies(samples, ["clse#B"])["strategy"]] == ["vanilla", "clse#B"]


def test_a_strategy_that_did_not_run_cannot_be_chosen(samples):
    with pytest.raises(UsageError, match="unknown strategy 'goood': did you mean good"):
        compare(samples, strategies=["goood"])


def test_all_built_in_strategies_at_three_budgets_are_compared_in_pairs():
    count = len(registry().names("strategies")) - 1  # vanilla is no pair's
    assert 3 * count * (count - 1) // 2 <= families.MOST_PAIRS


def test_the_mean_over_tasks_is_part_of_every_comparison(reduced):
    assert set(family(reduced, "F2")["task"]) == {MEAN}


def test_every_trivial_baseline_is_compared_also_one_of_two_joined_runs(monkeypatch):
    monkeypatch.setattr(families, "MOST_PAIRS", 1)
    spoils = {"good": 0.0, "bad": 0.5, "uniform": 0.2, "random#A": 0.3, "blind#B": 0.6}
    few = compare(run({(name, "1/3", 0): share for name, share in spoils.items()}), resamples=199)
    assert few.left_out == 1
    pairs = {frozenset(pair) for pair in zip(family(few, "F2")["a"], family(few, "F2")["b"], strict=True)}
    assert len(pairs) == 9
    assert {"good", "bad"} not in pairs
    found = make_headline(few, "toy")
    assert found.case in (Case.MANY, Case.FLOOR)
    assert found.support_text
