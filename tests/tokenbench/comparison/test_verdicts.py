"""Words from limits: recorded cases, and what must hold of any interval."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tokenbench.comparison.verdicts import Kind, Verdict, judge_against_vanilla, judge_pair

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "vectors-2.json").read_text())
points = st.floats(-20, 20)
margins = st.floats(0.01, 5)


@pytest.mark.parametrize("case", VECTORS["words"], ids=lambda case: case["verdict"])
def test_recorded_words(case):
    assert judge_against_vanilla(case["low"], case["high"], case["margin"]).text == case["verdict"]


@given(points, points, margins)
def test_a_verdict_says_what_its_interval_says(low, high, margin):
    assume(low < high)
    verdict = judge_against_vanilla(low, high, margin)
    assert (verdict.kind is Kind.BETTER) == (low > 0)
    assert (verdict.sign < 0) == (high < 0)
    assert verdict.lossless == (low > -margin)
    assert (verdict.kind is Kind.LOSES_MORE) == (high < -margin)
    assert (verdict.kind is Kind.EQUIVALENT) == (-margin < low <= 0 <= high < margin)
    assert (verdict.kind is Kind.NOT_DECIDED) == (low <= -margin and high >= 0)
    assert verdict.final == (low > -margin or high < -margin)
    assert (verdict.tone == "neutral") == (verdict.kind is Kind.NOT_DECIDED)


@given(points, points)
def test_between_strategies_the_interval_decides_as_well(low, high):
    assume(low < high)
    verdict = judge_pair(low, high)
    assert verdict.sign == (1 if low > 0 else -1 if high < 0 else 0)
    assert verdict.opposite == judge_pair(-high, -low)


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [
        (-3, -1, Kind.WORSE),
        (-1, -0.5, Kind.WORSE),
        (-1, 0.5, Kind.NOT_DECIDED),
        (-0.5, 0, Kind.EQUIVALENT),
        (0, 0.5, Kind.EQUIVALENT),
        (-0.5, 1, Kind.NON_INFERIOR),
        (0, 1, Kind.NON_INFERIOR),
    ],
)
def test_a_limit_belongs_to_the_interval_so_that_what_it_says_is_not_ruled_out(low, high, kind):
    """The margin is one point: a loss of exactly one, or a difference of exactly 0, is still among what is possible."""
    assert judge_against_vanilla(low, high, 1.0).kind is kind


@pytest.mark.parametrize(("low", "high"), [(np.nan, np.nan), (np.nan, -2.0), (2.0, np.nan)])
def test_without_both_limits_there_is_no_verdict(low, high):
    for verdict in (judge_against_vanilla(low, high, 1.0), judge_pair(low, high)):
        assert verdict == Verdict(Kind.TOO_FEW)
        assert (verdict.sign, verdict.tone, verdict.final, verdict.lossless) == (0, "neutral", False, False)


def test_every_kind_has_words_and_a_tone():
    for kind in Kind:
        verdict = Verdict(kind, 1.5)
        assert str(verdict) == verdict.text
        assert "{" not in verdict.text
        assert ("1.5" in verdict.text) == ("margin" in kind.value)
        assert verdict.tone in ("good", "bad", "neutral")
        assert verdict.symbol in {"good": "▲✓", "bad": "▼", "neutral": "·?"}[verdict.tone]
