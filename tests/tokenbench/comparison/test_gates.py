"""Gates read the limits beside them, and nothing else: by hand, with an interval on each side of what is asked."""

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from tokenbench import Budget, UsageError
from tokenbench.comparison.gates import explain_failure, parse_gate

NAN = float("nan")


def fails(gate: str, low: float, high: float, **changes: Any) -> bool:
    """Of one row a - b at budget 1/9 with these limits, in points; p and verdict say the contrary of what they might."""
    row = {
        "model": "toy", "family": "F1" if "vanilla" in gate else "F2", "budget": "1/9", "a": "clse", "b": "fastv",
        "difference": (low + high) / 200, "low": low / 100, "high": high / 100, "p": 0.5, "verdict": None,
    }  # fmt: skip
    row |= {"b": "vanilla"} if "vanilla" in gate else {}
    comparison: Any = SimpleNamespace(pairs=pd.DataFrame([row | changes]))
    return bool(explain_failure(parse_gate(f"{gate}@1/9"), comparison))


@pytest.mark.parametrize(
    ("gate", "low", "high", "wanted"),
    [
        # Fails if the left one was shown to be worse.
        ("clse<fastv", -3, -0.1, True),
        ("clse<fastv", -3, 0.1, False),
        ("clse<fastv", 0.1, 3, False),
        ("clse<vanilla", -3, -0.1, True),
        # Fails unless the left one was shown to be better.
        ("clse<=fastv", 0.1, 3, False),
        ("clse<=fastv", 0, 3, True),
        ("clse<=fastv", -0.1, 3, True),
        ("clse<=fastv", -3, -0.1, True),
        ("clse<=fastv", NAN, NAN, True),
        ("clse<fastv", NAN, NAN, False),
        # Fails if a loss of more than 2 points was shown.
        ("clse<vanilla-2", -5, -2.1, True),
        ("clse<vanilla-2", -5, -1.9, False),
        ("clse<vanilla-2", -2, 0, False),
        ("clse<vanilla-2", NAN, NAN, False),
        # Fails unless a loss of 2 points was ruled out.
        ("clse<=vanilla-2", -1.9, -0.5, False),
        ("clse<=vanilla-2", -1.9, 3, False),
        ("clse<=vanilla-2", -2.1, 3, True),
        ("clse<=vanilla-2", -5, -2.1, True),
        ("clse<=vanilla-2", NAN, NAN, True),
    ],
)
def test_a_gate_fails_on_one_side_of_its_limit_and_holds_on_the_other(
    gate: str, low: float, high: float, wanted: bool
) -> None:
    assert fails(gate, low, high) == wanted


@pytest.mark.parametrize(("low", "high"), [(-3, -0.1), (-3, 0.1), (0.1, 3), (-0.1, 3)])
@pytest.mark.parametrize("sign", ["<", "<="])
def test_it_does_not_matter_which_strategy_the_row_names_first(low: float, high: float, sign: str) -> None:
    turned = {"a": "fastv", "b": "clse"}
    assert fails(f"clse{sign}fastv", low, high) == fails(f"clse{sign}fastv", -high, -low, **turned)


def test_what_was_shown_on_single_tasks_alone_is_no_gate() -> None:
    assert fails("clse<fastv", -3, -0.1)
    with pytest.raises(Exception, match="budget '1/9'"):
        fails("clse<fastv", -3, -0.1, family="F3")


@pytest.mark.parametrize(
    ("written", "there", "meant"),
    [
        (".5", [".5"], [".5"]),
        (".5%", [".5%"], [".5%"]),
        (".5", ["0.5", "1/3"], ["0.5"]),
        ("0.005", [".5%", ".5"], [".5%"]),
        ("2/6", ["1/3", "1/9"], ["1/3"]),
        ("1/3", ["1/3", "2/6"], ["1/3"]),
        ("3/9", ["1/3", "2/6"], ["1/3", "2/6"]),
        ("64", ["64", "32"], ["64"]),
        ("none", ["none", "1/3"], ["none"]),
        ("1/3", ["big", "1/3"], ["1/3"]),
        ("2/6", ["big", "1/3"], ["1/3"]),
    ],
)
def test_a_budget_means_itself_or_what_retains_the_same(written: str, there: list[str], meant: list[str]) -> None:
    row = {"model": "toy", "family": "F2", "a": "clse", "b": "fastv", "difference": -0.02, "low": -0.03, "high": -0.01}
    frame = pd.DataFrame([{**row, "budget": budget, "p": 0.01, "verdict": None} for budget in there])
    comparison: Any = SimpleNamespace(pairs=frame)
    reasons = explain_failure(parse_gate(f"clse<fastv@{written}"), comparison)
    assert [reason.split()[3].rstrip(":") for reason in reasons] == meant


@pytest.mark.parametrize("text", ["1", "64", "1/3", ".5", ".5%", "33.3%", "0.334", "0", "2/1", "1/0", "x", "1e3", "²"])
def test_a_gate_takes_the_budgets_of_a_run_and_no_others(text: str) -> None:
    try:
        wanted: Budget | None = Budget.parse(text)
    except UsageError:
        wanted = None
    if wanted is None:
        with pytest.raises(UsageError, match="cannot read the condition"):
            parse_gate(f"clse<fastv@{text}")
    else:
        assert parse_gate(f"clse<fastv@{text}").budget == wanted


@pytest.mark.parametrize(("text", "margin"), [("1", 1.0), ("0.5", 0.5), (".5", 0.5), ("2.25", 2.25)])
def test_a_margin_is_a_number(text: str, margin: float) -> None:
    assert parse_gate(f"clse<vanilla-{text}@1/3").margin == margin
