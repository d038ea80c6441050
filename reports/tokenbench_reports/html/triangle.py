"""Which differences are real: every pair of strategies at a budget, once."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from tokenbench.comparison.ranking import Ranking
from tokenbench.comparison.wording import interval, number
from tokenbench_reports.html.cells import Limits
from tokenbench_reports.html.marks import Mark, look_of

MOST = 20
"""Strategies of one triangle; the others' pairs are in pairs.csv."""


@dataclass(frozen=True)
class Gap:
    """By how much the strategy of the column keeps more than that of the row."""

    text: str
    """The gap in points; in brackets where no order was shown."""
    real: bool
    """Whether an order was shown."""
    hint: str
    """The whole comparison."""


@dataclass(frozen=True)
class Triangle:
    """The pairs of one budget."""

    budget: str
    """The budget."""
    columns: list[tuple[str, str]]
    """(strategy, look) of every column."""
    rows: list[tuple[str, str, list[Gap]]]
    """(strategy, look, gaps) of every row, the best first."""
    text: str
    """How many pairs differ."""


def triangle(ranking: Ranking, pairs: pd.DataFrame, marks: Mapping[str, Mark], text: str) -> Triangle:
    """Arrange the pairs (family F2) of one budget; ``text`` says how many of them differ."""
    here = pairs[(pairs["family"] == "F2") & (pairs["budget"] == ranking.budget)]
    gaps: dict[tuple[str, str], Gap] = {}
    for row in here.to_dict("records"):
        a, b, sign = str(row["a"]), str(row["b"]), row["verdict"].sign
        noise = ", at the noise floor" if row.get("at_noise_floor", False) else ""
        gaps[a, b] = _gap(a, b, (row["difference"], row["low"], row["high"]), sign, noise)
        gaps[b, a] = _gap(b, a, (-row["difference"], -row["high"], -row["low"]), sign, noise)
    names = ranking.strategies[:MOST]
    rows = [
        (name, look_of(marks, name), [gaps.get((better, name), Gap("", False, "")) for better in names[:at]])
        for at, name in enumerate(names)
        if at
    ]
    if len(ranking.strategies) > MOST:
        text += f" The best {MOST} of {len(ranking.strategies)} are shown; all pairs are in pairs.csv."
    return Triangle(ranking.budget, [(name, look_of(marks, name)) for name in names[:-1]], rows, text)


def _gap(a: str, b: str, limits: Limits, sign: int, noise: str) -> Gap:
    text = number(100 * limits[0])
    words = interval(*limits, signed=True, marks=[0.0])
    hint = f"{a} − {b}: {words} points{'' if sign else ', cannot be told apart'}{noise}"
    return Gap(text if sign else f"({text})", bool(sign), hint)
