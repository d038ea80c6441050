"""Budgets as users write them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tokenbench import Budget, UsageError
from tokenbench.contract.budget import count


@pytest.mark.parametrize(
    ("text", "share"),
    [("1/3", Fraction(1, 3)), ("33.3%", Fraction(333, 1000)), ("0.334", Fraction(334, 1000)), (".5", Fraction(1, 2))],
)
def test_shares(text: str, share: Fraction) -> None:
    budget = Budget.parse(text)
    assert (budget.share, budget.tokens, str(budget)) == (share, None, text)


def test_an_integer_is_tokens() -> None:
    assert Budget.parse("192").tokens == 192
    assert Budget.parse(192).tokens == 192


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "0%",
        "0.0",
        "0/5",
        "1.0",
        "100%",
        "3/3",
        "4/3",
        "150%",
        "-5",
        "-1/3",
        "",
        "many",
        "1/0",
        "1/00",
        "nan",
        "inf",
        "1e9",
        "192.5",
        "1/3/4",
        "²",
    ],
)
def test_everything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match="budget") as error:
        Budget.parse(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("share", "tokens"), [("1/3", 192), ("2/9", 128), ("1/9", 64)])
def test_the_default_budgets_are_the_fields_192_128_64(share: str, tokens: int) -> None:
    assert count(Budget.parse(share).keep, 576, 576) == tokens


SHARES = st.one_of(
    st.builds("{}/{}".format, st.integers(1, 10**9 - 1), st.integers(1, 10**9 - 1)),
    st.builds("{}%".format, st.decimals(0, 100, places=3, allow_nan=False)),
    st.builds("{}".format, st.decimals(0, 1, places=6, allow_nan=False)),
)


@given(SHARES | st.builds(str, st.integers(1, 10**9 - 1)))
def test_what_is_read_is_written_as_it_was_and_read_the_same_again(text: str) -> None:
    try:
        budget = Budget.parse(text)
    except UsageError:
        assume(False)
    assert str(budget) == text
    assert Budget.parse(str(budget)) == budget
    assert (budget.tokens is None) != (budget.share is None)
    assert budget.share is None or 0 < budget.share < 1


@given(st.text())
def test_any_text_is_a_budget_or_a_usage_error(text: str) -> None:
    try:
        budget = Budget.parse(text)
    except UsageError:
        return
    assert Budget.parse(str(budget)) == budget


@given(st.integers(1, 999), st.integers(2, 1000), st.integers(1, 5000))
def test_a_share_written_in_three_ways_keeps_the_same(numerator: int, denominator: int, visual: int) -> None:
    assume(numerator < denominator)
    share = Fraction(numerator, 1000)
    texts = (f"{numerator}/1000", f"{numerator / 10:g}%", f"{numerator / 1000:g}")
    assert {Budget.parse(text).share for text in texts} == {share}
    assert len({count(Budget.parse(text).keep, visual, visual) for text in texts}) == 1


@given(st.fractions(0, 1), st.integers(1, 5000), st.integers(1, 5000))
def test_a_stage_keeps_between_one_and_what_is_left(share: Fraction, original: int, alive: int) -> None:
    assert 1 <= count(share, original, alive) <= alive
    assert count(share, original, original) <= max(1, share * original + 1)


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_a_decimal_share_keeps_what_the_fraction_keeps(tokens: int, original: int) -> None:
    if tokens <= original:
        assert count(tokens / original, original, original) == tokens


def test_budgets_have_an_order() -> None:
    """Shares by size, then numbers of tokens, then those that no user writes."""
    texts = ["1%", "1/9", "2/9", "33.3%", "1/3", ".5", "0.75", "1", "64", "192", "all"]
    budgets = [Budget.read(text) for text in texts]
    assert sorted(budgets[::-1], key=lambda budget: budget.order) == budgets
    assert Budget.none().order == Budget.everything().order == float("inf")
    assert [budget.order for budget in budgets if budget.order < float("inf")] == [
        0.01, 1 / 9, 2 / 9, 0.333, 1 / 3, 0.5, 0.75, 1, 64, 192,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1/3", "2/6", True),
        ("50%", ".5", True),
        ("64", "064", True),
        ("1/3", "33.3%", False),
        ("1", ".1", False),
        ("all", "all", True),
        ("all", "1", False),
        ("none", "all", False),
    ],
)
def test_what_is_written_differently_may_retain_the_same(one: str, other: str, same: bool) -> None:
    assert Budget.read(one).same_as(Budget.read(other)) == same
    assert (Budget.read(one) == Budget.read(other)) == (one == other)


@given(SHARES | st.builds(str, st.integers(1, 10**9 - 1)) | st.sampled_from(["all", "none"]))
def test_what_is_written_into_a_table_is_read_again(text: str) -> None:
    try:
        budget = Budget.read(text)
    except UsageError:
        assume(False)
    assert str(budget) == text
    assert Budget.read(str(budget)) == budget


@pytest.mark.parametrize("text", ["All", "everything", "0", "1/0", ""])
def test_a_table_holds_no_other_words(text: str) -> None:
    with pytest.raises(UsageError, match="budget"):
        Budget.read(text)
