"""Conditions on a comparison that make a command fail, for continuous integration.

    clse<fastv@1/9        fails if clse has been shown to be worse than fastv
    clse<=fastv@1/9       fails unless clse has been shown to be better
    clse<vanilla-1@1/9    fails if clse has been shown to lose more than 1 point of retention
    clse<=vanilla-1@1/9   fails unless a loss of 1 point has been ruled out (non-inferior)

The budget follows the last ``@``: names of strategies may hold others (``fastv@pdrop<clse@1/9``). ``>`` and ``>=`` are the mirror image.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tokenbench.contract.cells import VANILLA
from tokenbench.errors import UsageError, unknown

if TYPE_CHECKING:
    from tokenbench.comparison import Comparison

__all__ = ["Gate", "failed", "parse_gate"]

FORM = "write LEFT<RIGHT@BUDGET, as in clse<fastv@1/9"


@dataclass(frozen=True)
class Gate:
    """A condition that must not hold.

    Attributes:
        text: as it was written.
        low, high: strategies; the gate fails if ``low`` is worse than ``high``.
        unless: fail unless ``low`` has been shown to be better.
        margin: points of retention below vanilla; None without one.
        budget: as written.
    """

    text: str
    low: str
    high: str
    unless: bool
    margin: float | None
    budget: str


def parse_gate(text: str) -> Gate:
    """Read a condition. Raises UsageError if it is none."""
    body, at, budget = text.strip().rpartition("@")
    parts = re.fullmatch(r"(.+?)\s*(<=|<|>=|>)\s*(.+)", body)
    if not at or not parts:
        raise UsageError(f"gate '{text}' is no condition", FORM)
    if not re.fullmatch(r"\d+(\.\d+)?%?|\d+/\d+|none|all", budget):
        raise UsageError(f"gate '{text}' ends with '@{budget}', which is no budget", FORM)
    left, sign, right = parts.groups()
    low, high = (left, right) if sign[0] == "<" else (right, left)
    margin = re.fullmatch(rf"{VANILLA}-(\d+(?:\.\d+)?)", high)
    if re.fullmatch(rf"{VANILLA}-.*", low) or low == VANILLA:
        raise UsageError(f"gate '{text}' has vanilla on the lower side", "write STRATEGY<vanilla@BUDGET")
    return Gate(
        text, low.strip(), VANILLA if margin else high.strip(), sign.endswith("="), float(margin[1]) if margin else None, budget
    )  # fmt: skip


def failed(gate: Gate, comparison: Comparison) -> list[str]:
    """Why a gate fails, a sentence for every model on which it does; empty if it holds.

    ``comparison`` must have the gate's margin, if it has one. Raises UsageError for what the comparison does not hold.
    """
    pairs = comparison.pairs
    pairs = pairs[pairs["family"].isin(["F1", "F2"]) & (pairs["budget"] == gate.budget)]
    if pairs.empty:
        raise unknown("budget", gate.budget, set(comparison.pairs["budget"]), f"in gate '{gate.text}'")
    names = {*pairs["a"], *pairs["b"]}
    for name in (gate.low, gate.high):
        if name not in names:
            raise unknown(f"strategy at budget {gate.budget}", name, names, f"in gate '{gate.text}'")
    found = []
    for row in pairs.to_dict("records"):
        if {row["a"], row["b"]} == {gate.low, gate.high}:
            found += [reason] if (reason := _reason(gate, row)) else []
    return found


def _reason(gate: Gate, row: dict[Any, Any]) -> str:
    """Everything is read off the simultaneous interval, as the verdict is; an interval that is not known shows nothing."""
    sign = 1.0 if row["a"] == gate.low else -1.0
    difference = sign * row["difference"]
    low, high = sorted((sign * row["low"], sign * row["high"]))
    if gate.margin is not None:
        broken = not low > -gate.margin / 100 if gate.unless else high < -gate.margin / 100
        wanted = f"a loss of {gate.margin:g} is not ruled out" if gate.unless else f"it loses more than {gate.margin:g}"
    else:
        broken = not low > 0 if gate.unless else high < 0
        wanted = f"not shown to be better than {gate.high}" if gate.unless else f"worse than {gate.high}"
    numbers = f"{100 * difference:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] points of retention, p {max(row['p'], 1e-4):.4f}"
    return f"{row['model']}: {gate.low} at {gate.budget}: {wanted} ({numbers})" if broken else ""
