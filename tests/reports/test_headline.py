"""The headline of every case, held against the rule as it was written down, and what supports it."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reports.hand_made import NAN, beats_all, hand_made
from tests.reports.made_up import made_up
from tokenbench.comparison.verdicts import Kind, Verdict
from tokenbench_reports.claims import published_means
from tokenbench_reports.findings import Case, find
from tokenbench_reports.headline import make_headline
from tokenbench_reports.sentences import list_names, shorten, text_of

THREE = {"fastv": 88.9, "clse": 81.8, "random": 54.9, "downsample": 37.9}
ORDER = beats_all(*THREE)
FIVE = {"dart": 99.4, "fastv": 98.9, "hired": 98.0, "tome": 90.0, "pdrop": 80.0, "random": 55.4}


def said(kept, better=(), **options):
    """The headline of one budget, or of several."""
    kept = kept if isinstance(next(iter(kept.values())), dict) else {"1/3": kept}
    return make_headline(hand_made(kept, better, **options), "toy")


def leading(kept, behind):
    """The verdicts by which the first strategies lead: each is better than those behind, and nothing else is known."""
    return [(a, b) for a in kept if a not in behind for b in behind]


def test_one_winner():
    found = said(THREE, ORDER)
    assert (
        found.text == "fastv is best: at budget 1/3 it keeps 88.9 % of the model's accuracy, 7.1 points more than clse"
    )
    assert (found.case, found.winner, found.leaders, found.budget) == (Case.BEST, "fastv", ("fastv",), "1/3")
    turned = said(dict(reversed(THREE.items())), ORDER)
    assert (turned.text, turned.support) == (found.text, found.support)  # whichever way round a pair is stored


def test_a_winner_that_costs_more_than_the_second_says_by_how_much():
    dearer = said(THREE, ORDER, tokens={"fastv": 54.5, "clse": 50.0})
    assert dearer.text.endswith("7.1 points more than clse, for 9 % more tokens")
    for tokens in (50.4, 40.0):
        assert "more tokens" not in said(THREE, ORDER, tokens={"fastv": tokens}).text


def test_two_leaders():
    found = said(FIVE, leading(FIVE, ("hired", "tome", "pdrop", "random")))
    assert found.text == (
        "dart and fastv lead: at budget 1/3 they keep 99.4 % and 98.9 % of the model's accuracy, and cannot be told apart"
    )
    assert (found.case, found.winner, found.leaders) == (Case.LEAD, None, ("dart", "fastv"))


def test_many_leaders():
    found = said(FIVE, leading(FIVE, ("tome", "pdrop", "random")))
    assert found.text == (
        "3 of 5 methods lead at budget 1/3: dart keeps 99.4 % of the model's accuracy, and fastv and hired cannot be told "
        "apart from it"
    )


def test_nobody_is_behind():
    floor = [(name, "random") for name in FIVE if name != "random"]
    assert said(FIVE, floor).text == (
        "No method is shown to be best: at budget 1/3 dart keeps 99.4 % of the model's accuracy, and none of the other 4 "
        "methods can be told apart from it"
    )
    two = said({"fastv": 88.9, "clse": 86.0, "random": 50.0}, [("fastv", "random"), ("clse", "random")])
    assert (
        two.text
        == "fastv and clse cannot be told apart: at budget 1/3 they keep 88.9 % and 86.0 % of the model's accuracy"
    )
    assert two.case is Case.OPEN


def test_nobody_beats_the_best_floor():
    found = said({"fastv": 88.9, "clse": 81.8, "random": 86.0, "downsample": 37.9}, [("fastv", "clse")])
    assert found.text == "No method is shown to beat random tokens at budget 1/3"
    assert (found.case, found.winner, found.leaders) == (Case.FLOOR, None, ())
    assert "between fastv and random (88.9 and 86.0 %)" in found.support_text
    one = said({"fastv": 50.0, "downsample": 51.0})
    assert (
        one.text == "fastv is not shown to beat a smaller image at budget 1/3: it keeps 50.0 % of the model's accuracy"
    )


def test_a_floor_that_any_method_beats_is_beaten():
    """The highest method may have the widest interval."""
    found = said(THREE, [("clse", "random"), ("clse", "downsample"), ("fastv", "downsample")])
    assert found.case is Case.OPEN
    assert "fastv is not shown to beat random." in found.support_text


def test_a_method_that_beats_all_methods_but_not_all_floors_is_not_best():
    found = said(THREE, [("fastv", "clse"), ("clse", "random"), ("fastv", "downsample"), ("clse", "downsample")])
    assert found.winner is None
    assert found.text == "fastv leads: at budget 1/3 it keeps 88.9 % of the model's accuracy"


def test_one_method():
    found = said({"fastv": 88.9, "random": 54.9}, [("fastv", "random")])
    assert found.text == "fastv keeps 88.9 % of the model's accuracy at budget 1/3, 34.0 points more than random tokens"
    assert said({"fastv": 88.9}).text == "fastv keeps 88.9 % of the model's accuracy at budget 1/3"
    assert (found.case, found.winner) == (Case.ONE, None)


def test_methods_that_were_not_compared_with_each_other_have_no_leaders():
    comparison = hand_made(
        {"1/3": {"fastv": 88.9, "clse": 81.8, "random": 54.9}}, [("fastv", "random"), ("clse", "random")]
    )
    between = (comparison.pairs["family"] == "F2") & (comparison.pairs[["a", "b"]] != "random").all(axis=1)
    found = make_headline(replace(comparison, pairs=comparison.pairs[~between], left_out=1), "toy")
    assert found.text == (
        "2 methods are too many to compare with each other: at budget 1/3 the highest estimate is 88.9 % of the model's accuracy, of "
        "fastv, 34.0 points more than random tokens"
    )
    assert (found.case, found.winner, found.leaders) == (Case.MANY, None, ())
    assert "cannot be told apart" not in found.support_text + found.pairs.replace("What cannot be told apart", "")


def test_trivial_baselines_or_vanilla_alone():
    assert said({"random": 54.9, "uniform": 51.0}).text == (
        "Only trivial baselines ran: the highest at budget 1/3 is random, with 54.9 % of the model's accuracy"
    )
    assert make_headline(hand_made({}), "toy").text == "Only the unpruned model ran: it scores 93.0 %"


def test_without_retention_there_is_no_finding():
    comparison = hand_made({"1/3": THREE})
    comparison.summary["retention"] = NAN
    found = make_headline(comparison, "toy")
    assert found.text == (
        "There is no accuracy kept to compare: the unpruned model's score (93.0 %) is not shown to be above 5 %"
    )
    assert not found.support


@pytest.mark.parametrize(("images", "label"), [(99, "Too few images for a result"), (100, "")])
def test_few_images_are_labelled(images, label):
    found = said(THREE, ORDER, images=images)
    assert found.label == label
    assert found.text.startswith("fastv is best")


def test_the_support_says_intervals_then_cost_then_other_budgets_then_the_loss():
    found = said({"1/3": THREE, "1/9": THREE}, ORDER, cache={"clse": 0.18})
    assert found.support_text == (
        "The 95 % intervals are 87.8 to 90.0 % and 4.3 to 9.9 points. fastv computes 63 % of the FLOPs and stores 45 % of the "
        "KV cache; clse stores 18 % and keeps 81.8 % of the accuracy. fastv is best at every budget. Every method loses more "
        "than 1 point at every budget."
    )


def test_what_does_not_hold_at_another_budget_is_said_with_its_size():
    kept = {"1/3": THREE, "2/9": THREE, "1/9": {"clse": 80.6, "fastv": 69.3, "random": 40.0, "downsample": 20.0}}
    order = [(*pair, budget) for budget in ("1/3", "2/9") for pair in ORDER]
    other = [(*pair, "1/9") for pair in beats_all(*kept["1/9"])]
    assert (
        "At 1/9, clse is best and keeps 80.6 %, 11.3 points more than fastv." in said(kept, order + other).support_text
    )
    assert "At 2/9" not in said(kept, order + other).support_text
    tie = [pair for pair in other if pair[:2] != ("clse", "fastv")]
    assert "At 1/9, clse (80.6 %) cannot be told apart from fastv." in said(kept, order + tie).support_text
    assert "At 1/9, no method is shown to beat random." in said(kept, order).support_text


def test_the_frugal_method_is_named_only_if_it_beats_the_floors_and_is_not_the_winner():
    assert "clse stores" in said(THREE, ORDER, cache={"clse": 0.18}).support_text
    weak = [pair for pair in ORDER if pair != ("clse", "random")]
    assert "clse stores" not in said(THREE, weak, cache={"clse": 0.18}).support_text
    assert "; " not in said(THREE, ORDER, cache={"fastv": 0.18}).support_text
    assert "KV cache" not in said(THREE, ORDER, cache={"fastv": NAN}).support_text


@pytest.mark.parametrize(
    ("against", "margin", "sentence"),
    [
        (Kind.LOSES_MORE, 1.0, "Every method loses more than 1 point."),
        (Kind.NOT_DECIDED, 2.0, "No method is shown to stay within 2 points of the unpruned model."),
        ({("fastv", "1/3"): Kind.NON_INFERIOR}, 1.0, "fastv at 1/3 stays within 1 point of the unpruned model."),
        (dict.fromkeys([("fastv", "1/3"), ("clse", "1/3")], Kind.EQUIVALENT), 1.0,
         "fastv at 1/3, and clse at 1/3 stay within 1 point of the unpruned model."),
    ],
)  # fmt: skip
def test_the_loss_is_read_off_the_verdicts_against_vanilla(against, margin, sentence):
    assert said(THREE, ORDER, against=against, margin=margin).support_text.endswith(sentence)


def test_a_difference_at_the_noise_floor_has_a_warning():
    kept = {"a": 90.0, "b": 80.0, "random": 50.0}
    [warning] = said(kept, beats_all(*kept), noise=[("a", "b")]).warnings
    assert "at the noise floor" in warning
    assert not said(kept, beats_all(*kept), noise=[("a", "random")]).warnings


def test_the_opposite_order_in_a_paper_has_a_warning():
    """The ledger's row of CLSE's table for Qwen2-VL-7B: clse 97.6, fastv 94.9 at 0.334 of the tokens."""
    [warning] = said(THREE, ORDER).warnings
    assert warning == (
        "A paper reports the opposite order: on qwen2-vl-7b at budget 1/3, clse keeps 97.6 % of the accuracy and fastv 94.9 % "
        "(CLSE, arXiv 2606.24165, Qwen2-VL-7B table). See the published numbers."
    )
    agree = {"clse": 88.9, "fastv": 81.8, "random": 54.9}
    assert not said(agree, beats_all(*agree)).warnings
    assert not said(THREE, [pair for pair in ORDER if pair != ("fastv", "clse")]).warnings  # nothing was shown here


def test_a_model_in_the_ledger_is_held_against_its_own_numbers():
    """On llava-1.5-7b no paper has both in one usable row at 1/3: the ledger's row of fastv there is shifted."""
    comparison = hand_made({"1/3": THREE, "2/9": THREE}, ORDER, model="llava-hf/llava-1.5-7b-hf")
    assert {one.backbone for one in published_means(comparison, "llava-hf/llava-1.5-7b-hf")} == {"llava-1.5-7b"}
    assert not make_headline(comparison, "llava-hf/llava-1.5-7b-hf").warnings


def test_a_shown_difference_is_never_rounded_to_nothing():
    found = said({"fastv": 88.92, "clse": 88.9, "random": 1.0}, beats_all("fastv", "clse", "random"))
    assert "0.02 points more than clse" in found.text


def test_names_of_two_runs_and_parameters_count_as_what_they_are():
    both = {"clse#A": 90.0, "clse#B": 80.0, "random:x=1#A": 40.0}
    found = said({"1/3": both, "all": {"vanilla#B": 100.0}}, beats_all(*both))
    assert (found.winner, found.budget) == ("clse#A", "1/3")
    assert found.text.endswith("10.0 points more than clse#B")
    [finding] = find(hand_made({"1/3": both, "all": {"vanilla#B": 99.0}}), "toy")
    assert finding.floors == ["random:x=1#A"]


def test_the_budget_with_the_most_methods_comes_first():
    found = said({"1/2": {"fastv": 95.0, "random": 60.0}, "1/3": THREE, "none": {"blind": 3.0}}, ORDER)
    assert found.budget == "1/3"
    assert found.case is Case.BEST


def test_without_an_interval_nothing_is_told_apart():
    comparison = hand_made({"1/3": THREE})
    comparison.pairs[["low", "high", "mde"]] = NAN
    comparison.pairs["verdict"] = Verdict(Kind.TOO_FEW)
    found = make_headline(comparison, "toy")
    assert found.text == (
        "Nothing can be told apart at budget 1/3, where no pair has an interval: the highest estimate is 88.9 % of the "
        "model's accuracy, of fastv"
    )
    assert (found.winner, found.leaders, found.support) == (None, (), ())
    assert found.pairs == "At 1/3, 0 of 6 pairs differ. What cannot be told apart is not shown to be equal."


def test_the_pairs_are_counted_with_the_gap_that_is_missed_too_often():
    """mde is 3.0 points in every pair made by hand."""
    assert said(THREE, ORDER).pairs == "At 1/3, 6 of 6 pairs differ."
    assert said(THREE, ORDER[1:]).pairs == (
        "At 1/3, 5 of 6 pairs differ. What cannot be told apart is not shown to be equal, and gaps below 3.0 points are "
        "missed more than one time in five."
    )
    assert said({"fastv": 88.9}).pairs == ""


def test_strategies_in_a_sentence_can_be_found_by_a_page():
    parts = said(THREE, ORDER).parts
    assert [(part.text, part.strategy) for part in parts if part.strategy] == [("fastv", "fastv"), ("clse", "clse")]
    one = said({"fastv": 88.9, "random": 54.9}, [("fastv", "random")]).parts
    assert ("random tokens", "random") in [(part.text, part.strategy) for part in one]


def test_hostile_and_long_names_stay_on_one_line_and_apart():
    bad, long = "a\x1b[31m\n", "x" * 500
    found = said({bad: 90.0, long + "1": 80.0, "random": 40.0}, beats_all(bad, long + "1", "random"))
    assert "\x1b" not in found.text
    assert "\n" not in found.text
    assert len(found.text) < 200
    assert shorten(long + "1") != shorten(long + "2")
    assert text_of(list_names(["a", "b", "c", "d"])) == "a, b and 2 more"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 110), min_size=1, max_size=5),
    st.lists(st.floats(0, 110), max_size=2),
    st.lists(st.booleans(), min_size=21, max_size=21),
    st.integers(1, 400),
)
def test_no_winner_is_named_that_verdicts_do_not_support(methods, floors, verdicts, images):
    """Whatever is kept and whatever is shown: whoever is called best beats every other strategy by a verdict."""
    names = [*(f"m{at}" for at in range(len(methods))), *("random", "downsample")[: len(floors)]]
    kept = dict(zip(names, [*methods, *floors], strict=True))
    pairs = zip(itertools.combinations(names, 2), verdicts, strict=False)
    better = {pair if kept[pair[0]] >= kept[pair[1]] else pair[::-1] for pair, shown in pairs if shown}
    found = said(kept, better, images=images)
    if " best" in found.text + found.support_text and found.case is not Case.OPEN:
        assert found.winner is not None
    if found.winner is not None:
        assert all((found.winner, other) in better for other in names if other != found.winner)
        assert found.text.startswith(found.winner)
    for a, b in itertools.combinations(found.leaders, 2):
        assert (found.leaders[0], b) not in better or a != found.leaders[0]
    assert found.label == ("" if images >= 100 else "Too few images for a result")


def test_a_run_without_any_difference_has_no_winner():
    """Real statistics on strategies that all spoil as many answers, at random."""
    for seed in range(2):
        comparison, _ = made_up({"a": 0.2, "b": 0.2, "c": 0.2, "random": 0.2}, seed=seed, images=30)
        found = make_headline(comparison, "toy")
        verdicts = comparison.pairs.query("family == 'F2' and budget == '1/2'")["verdict"]
        assert found.winner is None or sum(verdict.sign != 0 for verdict in verdicts) >= 3
        assert found.case is Case.FLOOR


def test_every_model_has_its_own_and_all_together_have_one():
    comparison, _ = made_up({"good": 0.0, "bad": 0.5, "random": 0.9}, models=("small", "large"), images=60)
    for part, model in ((comparison, "small"), (comparison, "large"), (comparison.together, "all models together")):
        found = make_headline(part, model)
        assert found.text.startswith("good is best: at budget 1/2")
        assert model in found.scope


def test_one_image_has_a_headline_that_claims_nothing():
    comparison, _ = made_up({"a": 0.1, "random": 0.5}, images=1)
    found = make_headline(comparison, "toy")
    assert found.text.startswith("There is no accuracy kept to compare")
    assert found.label
    assert found.winner is None
