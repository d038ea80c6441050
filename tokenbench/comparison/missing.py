"""What missing answers could change: every interval is widened to what it would be at either extreme."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tokenbench.comparison.pairs import NAN, Row
from tokenbench.comparison.verdicts import Kind, judge_against_vanilla, judge_pair
from tokenbench.contract.cells import VANILLA


def widen_for_missing(
    rows: list[Row], filled: Sequence[list[Row]], absent: Mapping[tuple[str, str, str], int], margin: float
) -> list[Row]:
    """Add to the rows what missing answers could change: what the interval would be at either extreme.

    Args:
        rows: The rows on the samples that every cell has.
        filled: The same rows with missing answers taken as wrong, and as vanilla's.
        absent: How many answers of a strategy and budget are missing on a task, or on ``mean``.
        margin: The margin, in points of accuracy kept.
    """
    same = [
        {_place(row): row for row in one} for one in filled
    ]  # more rows if no sample of a task is common to all cells
    alone = [{(row["a"], row["budget"], row["task"]): row for row in one if row["b"] == VANILLA} for one in filled]
    found = []
    for row in rows:
        least, most = (one[_place(row)] for one in same)
        lacking = [absent.get((row[name], row["budget"], row["task"]), 0) for name in ("a", "b")]
        if any(lacking):
            ends = [row, least, most, *([_mix_extremes(row, *alone)] if all(lacking) else ())]
            low = float(np.min([_value(end, "low") for end in ends]))
            high = float(np.max([_value(end, "high") for end in ends]))
            p = float(np.max([_value(end, "p") for end in (row, least, most)]))
            verdict = (
                judge_against_vanilla(100 * low, 100 * high, margin) if row["family"] == "F1" else judge_pair(low, high)
            )
            verdict = row["verdict"] if row["verdict"].kind is Kind.UNDEFINED else verdict
            said = {
                "missing": sum(lacking),
                "if_wrong": _value(least, "difference"),
                "if_vanilla": _value(most, "difference"),
            }
            row = row | said | {"low": low, "high": high, "p": p, "verdict": verdict}
        found.append(row)
    return found


def _mix_extremes(row: Row, wrong: Mapping[Any, Row], vanilla: Mapping[Any, Row]) -> Row:
    """Both cells lack answers, and one may have been wrong where the other was as vanilla: from what each is against vanilla."""
    (a_wrong, b_wrong), (a_vanilla, b_vanilla) = (
        tuple(end.get((row[name], row["budget"], row["task"]), {}) for name in ("a", "b")) for end in (wrong, vanilla)
    )
    return {
        "low": _value(a_wrong, "low") - _value(b_vanilla, "high"),
        "high": _value(a_vanilla, "high") - _value(b_wrong, "low"),
    }


def _place(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("family", "a", "b", "budget", "task"))


def _value(row: Row, name: str) -> float:
    return float(row.get(name, NAN))
