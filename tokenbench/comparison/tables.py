"""The tables that a comparison is shown in. Each column stands here once; every format renders what is listed here.

Columns are shown where there is room for them (``Column.room``), in this order everywhere.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tokenbench.comparison.pairs import MEAN
from tokenbench.comparison.ranking import UNEQUAL_COST, Ranking, rank_strategies
from tokenbench.comparison.verdicts import Kind, Verdict
from tokenbench.comparison.wording import (
    NOTHING,
    UNKNOWN,
    count_of,
    interval,
    marks_of,
    number,
    p_value,
    percent,
    range_of,
    verdict_text,
)
from tokenbench.contract.cells import CELL, VANILLA
from tokenbench.tables import Column, Entry, Room, Table

if TYPE_CHECKING:
    import pandas as pd

    from tokenbench.comparison import Comparison

__all__ = [
    "MARK",
    "SKILL",
    "cells_table",
    "main_tables",
    "main_title",
    "models_table",
    "pairs_table",
    "scores_table",
    "share_of",
    "tasks_table",
    "verdict_entry",
]

MARK = "≠"
"""Marks pairs whose realised costs differ."""
SKILL = "skill_"
"""How the summary's columns of skill begin."""
Record = Mapping[Hashable, Any]


@dataclass(frozen=True)
class _CellRecord:
    """What one row of the main table is made of."""

    cell: Record
    """The cell's row of the summary, over all tasks."""
    vanilla: Record
    """The row of vanilla."""
    against: Record | None
    """The cell's pair with vanilla in family F1; None for vanilla itself."""
    ranking: Ranking | None
    """The ranking at its budget; None for vanilla."""
    margin: float
    """The margin, in points of accuracy kept."""

    @property
    def name(self) -> str:
        return str(self.cell["strategy"])


def main_tables(comparison: Comparison) -> list[Table]:
    """The main table of every model, under its name."""
    tables = [(model, cells_table(comparison, model).fit(Room.TERMINAL)) for model in comparison.models]
    return [replace(table, title=f"{model}: {table.title}") for model, table in tables]


def cells_table(comparison: Comparison, model: str, title: str = "") -> Table:
    """Every cell with its score, retention, cost, rank and verdict: vanilla, then budget by budget, the best first."""
    summary = comparison.summary
    mean = summary[(summary["model"] == model) & (summary["task"] == MEAN)]
    cells = {(row["strategy"], row["budget"]): row for row in mean.to_dict("records")}
    pairs = comparison.pairs
    pairs = pairs[(pairs["model"] == model) & (pairs["family"] == "F1")]
    against = {(row["a"], row["budget"]): row for row in pairs.to_dict("records")}
    [vanilla] = (cell for (strategy, _), cell in cells.items() if strategy == VANILLA)
    records = [_CellRecord(vanilla, vanilla, None, None, comparison.margin)]
    for ranking in rank_strategies(comparison, model):
        for key in ((name, ranking.budget) for name in ranking.strategies):
            records.append(_CellRecord(cells[key], vanilla, against.get(key), ranking, comparison.margin))
    skills = [str(name) for name in summary.columns if str(name).startswith(SKILL)]
    return Table.of(
        title or main_title(comparison, model, len(comparison.tasks)),
        [
            Column("strategy", lambda one: one.name, key=True, room=Room.PAPER),
            Column("budget", lambda one: str(one.cell["budget"]), key=True),
            Column("score % [95 % CI]", lambda one: _score(one.cell)),
            Column("accuracy kept % [95 % CI]", _retention, room=Room.PAPER, short="kept"),
            Column("visual tokens", _tokens, room=Room.PAPER, short="tokens"),
            Column("FLOPs", partial(_cost, "flops"), room=Room.PAPER),
            Column("KV", partial(_cost, "cache_bytes"), room=Room.PAPER),
            Column("evidence", lambda one: share_of(one.cell["evidence_recall"]), optional=True),
            *(Column(f"skill: {name.removeprefix(SKILL)}", partial(_skill, name), optional=True) for name in skills),
            Column("rank", _rank, room=Room.PAPER, optional=True),
            Column("against vanilla", _against, left=True, room=Room.PAPER),
        ],
        records,
        group=lambda one: one.ranking.budget if one.ranking else "",
        strong=lambda one: one.ranking is not None and one.ranking.compared and one.name in one.ranking.top,
        caption="Every strategy at every budget, mean over the tasks. "
        "Bold: the top group of its budget, not distinguishable from the highest",
    )


def main_title(comparison: Comparison, model: str, tasks: int, models: int = 1) -> str:
    """The title, which says what is averaged: if vanilla is near zero on a task, a mean of ratios means nothing."""
    mean = "Mean, with accuracy kept by the mean score," if model in comparison.ratio_of_means else "Mean"
    several = f"{count_of(models, 'model')} and " if models > 1 else ""
    return f"{mean} over {several}{count_of(tasks, 'task')}"


def pairs_table(comparison: Comparison, model: str) -> Table:
    """Every pair of strategies on retention, with the detectable difference where nothing was detected."""
    pairs = comparison.pairs
    pairs = pairs[(pairs["model"] == model) & (pairs["family"] == "F2")]
    records = [
        row for budget in dict.fromkeys(pairs["budget"]) for row in pairs[pairs["budget"] == budget].to_dict("records")
    ]
    every = comparison.left_out == 0
    return Table.of(
        "Between the strategies" if every else "Against the trivial baselines",
        [
            Column("budget", lambda pair: str(pair["budget"]), key=True),
            Column("a", lambda pair: str(pair["a"]), key=True),
            Column("b", lambda pair: str(pair["b"]), key=True),
            Column("a − b, points of accuracy kept [95 % CI]", _difference),
            Column("p", lambda pair: Entry.number(p_value(pair["p"]), pair["p"])),
            Column("other tasks", _other_tasks, room=Room.PAGE, optional=True),
            Column("MDE", lambda pair: Entry.number(percent(pair["mde"]), pair["mde"]), room=Room.PAGE),
            Column("tokens", _cost_ratio),
            Column("a is", _between, left=True),
        ],
        records,
        group=lambda pair: str(pair["budget"]),
        caption=f"{'Every pair of strategies at one budget' if every else 'Every strategy against the trivial baselines at its budget'} "
        "(family F2). Other tasks: limits for other tasks like these, from the spread between tasks; not tested",
    )


def tasks_table(comparison: Comparison, model: str) -> Table:
    """The score of every cell on every task, budget by budget."""
    summary = comparison.summary
    cells = summary[(summary["model"] == model) & (summary["task"] != MEAN)]
    scores = {(cell["strategy"], cell["budget"], cell["task"]): cell for cell in cells.to_dict("records")}
    named = cells.drop_duplicates(["strategy", "budget"])
    records = [
        (str(strategy), str(budget))
        for budget in dict.fromkeys(named["budget"])
        for strategy in named.loc[named["budget"] == budget, "strategy"]
    ]

    def score(task: str, record: tuple[str, str]) -> Entry:
        return _score(scores[*record, task])

    return Table.of(
        "Score % by task [95 % interval]",
        [
            Column("strategy", lambda record: record[0], key=True, room=Room.PAPER),
            Column("budget", lambda record: record[1], key=True),
            *(Column(str(task), partial(score, task), room=Room.PAPER) for task in dict.fromkeys(cells["task"])),
        ],
        records,
        group=lambda record: "" if record[0] == VANILLA else record[1],
        caption="Score % by task [95 % interval] (pointwise). Tests on single tasks are exploratory: family F3 in pairs.csv",
    )


def models_table(comparison: Comparison) -> Table:
    """Retention of every cell on every model, side by side."""
    cells = comparison.summary[(comparison.summary["task"] == MEAN) & (comparison.summary["strategy"] != VANILLA)]
    by_model = {(cell["strategy"], cell["budget"], cell["model"]): cell for cell in cells.to_dict("records")}

    def retention(model: str, record: tuple[str, str]) -> Entry:
        cell = by_model.get((*record, model))
        if cell is None:
            return Entry.number("", float("nan"))
        text = interval(cell["retention"], cell["retention_low"], cell["retention_high"])
        return Entry.number(text, cell["retention"], hint=percent(cell["score"]) + " % score")

    return Table.of(
        "Accuracy kept % [95 % CI] by model",
        [
            Column("strategy", lambda record: record[0], key=True),
            Column("budget", lambda record: record[1], key=True),
            *(Column(model, partial(retention, model)) for model in comparison.models),
        ],
        dict.fromkeys(zip(map(str, cells["strategy"]), map(str, cells["budget"]), strict=True)),
    )


def scores_table(scores: pd.DataFrame) -> Table:
    """The mean scores of a run without intervals or verdicts (see ``Run.scores``)."""
    return Table.of(
        "Mean scores only (does not count as a look)",
        [
            *(Column(name, partial(_name_of, name), key=True) for name in (*CELL, "task")),
            Column("score %", lambda row: Entry.number(percent(row["score"]), row["score"])),
            Column("samples", lambda row: Entry(f"{row['samples']:,}", row["samples"])),
        ],
        scores.to_dict("records"),
    )


def _name_of(column: str, row: Record) -> str:
    return str(row[column])


def share_of(value: float, nothing: str = NOTHING) -> Entry:
    """A share as per cent; without the sign on a page of a paper, whose caption says so."""
    text = percent(value, 0)
    return Entry.number(f"{text} %", value, nothing, short=text)


def verdict_entry(verdict: Verdict, text: str = "", hint: str = "") -> Entry:
    """A verdict with its tone and symbol; ``text`` where more is said than its own."""
    return Entry(text or verdict.text, tone=verdict.tone, symbol=verdict.symbol, hint=hint)


def _score(cell: Record) -> Entry:
    text = interval(cell["score"], cell["score_low"], cell["score_high"])
    return Entry.number(text, cell["score"], limits=_limits(cell, "score"), short=percent(cell["score"]))


def _retention(one: _CellRecord) -> Entry:
    cell = one.cell
    ends = (cell["retention"], cell["retention_low"], cell["retention_high"])
    text = percent(cell["retention"]) if one.ranking is None else interval(*ends, marks=marks_of(one.margin))
    return Entry.number(text, cell["retention"], limits=_limits(cell, "retention"))


def _limits(cell: Record, name: str) -> tuple[float, float] | None:
    low, high = cell[f"{name}_low"], cell[f"{name}_high"]
    return (low, high) if low == low else None


def _tokens(one: _CellRecord) -> Entry:
    return Entry.number(number(one.cell["realised_tokens"]), one.cell["realised_tokens"], UNKNOWN)


def _cost(name: str, one: _CellRecord) -> Entry:
    return share_of(one.cell[name] / one.vanilla[name], UNKNOWN)


def _skill(name: str, one: _CellRecord) -> Entry:
    return share_of(float("nan") if one.ranking is None else one.cell[name])


def _rank(one: _CellRecord) -> Entry:
    if one.ranking is None:
        return Entry("", float("inf"))
    if not one.ranking.compared:
        return Entry(NOTHING, float("inf"), tone="neutral")
    low, high = one.ranking.ranks(one.name)
    return Entry(range_of(low, high), low + high / 1000)


def _against(one: _CellRecord) -> Entry:
    if one.against is None:
        return Entry(NOTHING, tone="neutral", short="")
    return verdict_entry(one.against["verdict"], verdict_text(one.against))


def _difference(pair: Record) -> Entry:
    text = interval(pair["difference"], pair["low"], pair["high"], signed=True, marks=[0.0])
    return Entry.number(text, pair["difference"])


def _other_tasks(pair: Record) -> Entry:
    low, high = pair["tasks_low"], pair["tasks_high"]
    return Entry.number(f"[{percent(low, signed=True)}, {percent(high, signed=True)}]", low)


def _cost_ratio(pair: Record) -> Entry:
    ratio = pair["cost_ratio"]
    if ratio != ratio:
        return Entry(UNKNOWN, ratio, tone="neutral")
    if abs(ratio - 1) > UNEQUAL_COST:
        return Entry(f"{MARK} {ratio:.2f}×" if ratio < float("inf") else f"{MARK} ∞", ratio)
    return Entry("equal", ratio, tone="neutral")


def _between(pair: Record) -> Entry:
    open_ = pair["verdict"].kind is Kind.NOT_DISTINGUISHABLE and pair["mde"] == pair["mde"]
    hint = f"MDE {percent(pair['mde'])}" if open_ else ""
    return verdict_entry(pair["verdict"], verdict_text(pair), hint)
