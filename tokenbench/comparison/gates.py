"""Conditions on a comparison that make a command fail, for continuous integration.

The conditions are::

    clse<fastv@1/9        fails if clse has been shown to be worse than fastv
    clse<=fastv@1/9       fails unless clse has been shown to be better
    clse<vanilla-1@1/9    fails if clse has been shown to lose more than 1 point of accuracy kept
    clse<=vanilla-1@1/9   fails unless a loss of 1 point has been ruled out (non-inferior)

The budget follows the last ``@``, since names of strategies may hold others (``fastv@pdrop<clse@1/9``), and is written
as for ``--budgets``, or ``none``. ``>`` and ``>=`` are the mirror image.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tokenbench.contract.budget import Budget
from tokenbench.contract.cells import VANILLA
from tokenbench.errors import UsageError, unknown

if TYPE_CHECKING:
    from tokenbench.comparison import Comparison

__all__ = ["Gate", "check_names", "explain_failure", "parse_gate"]

FORM = "write LEFT<RIGHT@BUDGET, for example clse<fastv@1/9"


@dataclass(frozen=True)
class Gate:
    """A condition that must not hold."""

    text: str
    """The condition as it was written."""
    low: str
    """The strategy that the gate fails for if it is worse than the other one."""
    high: str
    """The other strategy, or vanilla."""
    unless: bool
    """Whether the gate fails unless ``low`` has been shown to be better."""
    margin: float | None
    """Points of accuracy kept that ``low`` may lie below vanilla; None without a margin."""
    budget: Budget
    """The budget of both strategies."""


def parse_gate(text: str) -> Gate:
    """Read a condition.

    Raises:
        UsageError: If the text is not a condition, or ``--budgets`` would refuse its budget.
    """
    body, at, budget_text = text.strip().rpartition("@")
    parts = re.fullmatch(r"(.+?)\s*(<=|<|>=|>)\s*(.+)", body)
    if not at or not parts:
        raise UsageError(f"cannot read the condition '{text}' given with --fail-if", FORM)
    try:
        budget = Budget.read(budget_text)
    except UsageError as error:
        raise UsageError(f"cannot read the condition '{text}' given with --fail-if: {error}", FORM) from None
    left, sign, right = parts.groups()
    low, high = (left, right) if sign[0] == "<" else (right, left)
    margin = re.fullmatch(rf"{VANILLA}-(\d+(?:\.\d+)?|\.\d+)", high)
    if re.fullmatch(rf"{VANILLA}-.*", low) or low == VANILLA:
        raise UsageError(
            f"gate '{text}' tests whether vanilla is worse, which is not supported", "write STRATEGY<vanilla@BUDGET"
        )
    return Gate(
        text, low.strip(), VANILLA if margin else high.strip(), sign.endswith("="), float(margin[1]) if margin else None, budget
    )  # fmt: skip


def explain_failure(gate: Gate, comparison: Comparison) -> list[str]:
    """Say why a gate fails.

    A run may have budgets that retain the same under different names (``1/3`` and ``2/6``). The gate means the one that
    is written in the same way; if there is none, it means all that retain the same.

    Args:
        gate: The condition.
        comparison: The comparison, made with the gate's margin if it has one.

    Returns:
        A sentence for every model on which the gate fails; empty if it holds.

    Raises:
        UsageError: If the comparison does not hold the gate's budget or strategies, or does not compare these two.
    """
    pairs = comparison.pairs
    pairs = pairs[pairs["family"].isin(["F1", "F2"])]
    check_names(gate, ((row[name], row["budget"]) for row in pairs.to_dict("records") for name in ("a", "b")))
    pairs = pairs[pairs["budget"].isin(_spellings(gate.budget, pairs["budget"]))]
    rows = [row for row in pairs.to_dict("records") if {row["a"], row["b"]} == {gate.low, gate.high}]
    if not rows:
        raise UsageError(
            f"gate '{gate.text}' cannot be checked: {gate.low} and {gate.high} are not compared with each other",
            f"compare these strategies alone: --strategies {gate.low},{gate.high}",
        )
    return [reason for row in rows if (reason := _reason(gate, row))]


def check_names(gate: Gate, cells: Iterable[tuple[str, str]]) -> None:
    """Check that there is what a gate names, so that a mistake is found before any verdict is shown.

    Args:
        gate: The condition.
        cells: The strategies and budgets that are there. Vanilla has all budgets.

    Raises:
        UsageError: There is no such budget, or no such strategy at this budget.
    """
    there = {(name, budget) for name, budget in cells if name != VANILLA}
    spellings = _spellings(gate.budget, (budget for _, budget in there))
    if not spellings:
        raise unknown("budget", str(gate.budget), {budget for _, budget in there}, f"in gate '{gate.text}'")
    names = {VANILLA, *(name for name, budget in there if budget in spellings)}
    for name in (gate.low, gate.high):
        if name not in names:
            raise unknown(f"strategy at budget {gate.budget}", name, names, f"in gate '{gate.text}'")


def _spellings(budget: Budget, names: Iterable[str]) -> set[str]:
    """The names in a table that mean this budget."""
    there = set(names)
    return {str(budget)} if str(budget) in there else {name for name in there if _is(budget, name)}


def _is(budget: Budget, name: str) -> bool:
    try:
        return Budget.read(name).same_as(budget)
    except UsageError:  # the table is not a run's
        return False


def _reason(gate: Gate, row: dict[Any, Any]) -> str:
    """Everything is read off the simultaneous interval, as the verdict is.

    If the interval is not known, nothing has been shown.
    """
    sign = 1.0 if row["a"] == gate.low else -1.0
    difference = sign * row["difference"]
    low, high = sorted((sign * row["low"], sign * row["high"]))
    if gate.margin is not None:
        broken = not low > -gate.margin / 100 if gate.unless else high < -gate.margin / 100
        wanted = f"a loss of {gate.margin:g} is not ruled out" if gate.unless else f"it loses more than {gate.margin:g}"
    else:
        broken = not low > 0 if gate.unless else high < 0
        wanted = f"not shown to be better than {gate.high}" if gate.unless else f"worse than {gate.high}"
    numbers = f"{100 * difference:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] points of accuracy kept, p {max(row['p'], 1e-4):.4f}"
    return f"{row['model']}: {gate.low} at {row['budget']}: {wanted} ({numbers})" if broken else ""
