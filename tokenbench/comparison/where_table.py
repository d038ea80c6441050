"""The table of where strategies lose, which every format renders."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from tokenbench.comparison import Comparison
from tokenbench.comparison.ranking import rank_strategies
from tokenbench.comparison.where import CHANGE, LOST, MENDED, SAME
from tokenbench.comparison.wording import interval
from tokenbench.tables import NOTHING, Column, Entry, Table

__all__ = ["where_table"]

SHARES = {"same answer %": SAME, "right → wrong %": LOST, "wrong → right %": MENDED}
PARTS = ("easy", "hard", "upper", "middle", "lower", "evidence kept", "evidence lost")
NOTE = (
    "Each question counts once, and the 95 % intervals hold for one entry each; nothing here is tested. Columns without % are changes of "
    "the score against vanilla, in points. No part of the questions is chosen by the answers that it is about."
)
MEANING = {
    "same answer %": "Same answer: the answer is vanilla's, right or wrong.",
    "easy": "Easy: the smaller picture (downsample) is answered right at the same budget; hard: it is not. Nothing is said about downsample itself here.",
    "upper": "Upper, middle, lower: the third of the picture with the evidence.",
    "evidence kept": "Evidence kept: all visual tokens with the evidence are left after the last layer; lost: not all of them.",
}  # fmt: skip
Cells = Mapping[tuple[str, str, str, str], tuple[float, float, float, int]]


def where_table(comparison: Comparison, model: str) -> Table:
    """Where every strategy loses, budget by budget, the best first."""
    rows = comparison.where[comparison.where["model"] == model]
    cells: Cells = {
        (row["strategy"], row["budget"], row["part"], row["measure"]): (
            row["value"],
            row["low"],
            row["high"],
            row["samples"],
        )
        for row in rows.to_dict("records")
    }
    arms = {(name, at) for name, at, _, _ in cells}
    ranked = ((name, one.budget) for one in rank_strategies(comparison, model) for name in one.strategies)
    table = Table.of(
        "Where it hurts",
        [
            Column("strategy", lambda arm: arm[0], key=True),
            Column("budget", lambda arm: arm[1], key=True),
            *(
                Column(title, partial(_entry, cells, "all", measure), optional=True)
                for title, measure in SHARES.items()
            ),
            *(Column(part, partial(_entry, cells, part, CHANGE), optional=True) for part in PARTS),
        ],
        [arm for arm in ranked if arm in arms],
        group=lambda arm: arm[1],
        caption="Where it hurts: answers that change, and changes of the score on parts of the questions",
    )
    shown = {column.header for column in table.columns}
    return replace(
        table, note=" ".join([NOTE, *(text for header, text in MEANING.items() if header in shown), *_sizes(cells)])
    )


def _sizes(cells: Cells) -> list[str]:
    """How many questions are hard, budget by budget: the same for all strategies that answered all of them."""
    hard = {
        at: (cells[name, at, part, CHANGE][3], cells[name, at, "all", CHANGE][3])
        for name, at, part, _ in cells
        if part == "hard"
    }
    counts = ", ".join(f"{count:,} of {every:,} at {at}" for at, (count, every) in hard.items())
    return [f"Hard questions: {counts}."] if counts else []


def _entry(cells: Cells, part: str, measure: str, arm: tuple[str, str]) -> Entry:
    if (found := cells.get((*arm, part, measure))) is None:
        return Entry(NOTHING, float("nan"), tone="neutral")
    value, low, high, _ = found
    text = interval(value, low, high, signed=measure == CHANGE, marks=[0.0])
    limits = (low, high) if low == low else None
    return Entry.number(text, value, limits=limits)
