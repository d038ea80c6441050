"""Accuracy kept by turn: what later questions lose that are asked of the tokens that another question left."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tokenbench.comparison.measures import ALPHA, Measures, measure
from tokenbench.comparison.panel import Scopes, panels
from tokenbench.comparison.wording import NOTHING, count_of, interval, join_names, percent
from tokenbench.contract.cells import CELL, VANILLA
from tokenbench.errors import SamplesError
from tokenbench.statistics import Contrasts, Critical, Pairing, contrasts, limits, statistic, subtract_contrasts
from tokenbench.statistics.clusters import Floats
from tokenbench.statistics.quantiles import student_critical
from tokenbench.tables import Column, Entry, Table, Tone

if TYPE_CHECKING:
    from tokenbench.comparison import Comparison

__all__ = ["LATER", "add_turns", "compare_turns", "describe_change", "describe_turns", "turns_table"]

LATER = "2+"
"""The name of all turns but the first, taken together."""
COLUMNS = [
    *CELL, "reads_question", "turn", "n", "clusters", "score_first", "score", "retention_first",
    "retention_first_low", "retention_first_high", "retention", "retention_low", "retention_high", "difference", "difference_low",
    "difference_high",
]  # fmt: skip
INTERVALS = "Intervals are pointwise, with images as clusters."
UNDEFINED = "Accuracy kept is not defined, since the unpruned model's score on these questions may be close to 0; scores are shown instead."
_FIRST, _REST = "1", "2"
Row = dict[str, Any]


def compare_turns(samples: pd.DataFrame, reads: Mapping[str, bool], scopes: Scopes | None = None) -> pd.DataFrame:
    """Compare every later turn with the first one, on the images that have both.

    Args:
        samples: One row per cell and sample, with the columns that ``compare`` takes, and turn.
        reads: By strategy, whether it looks at the question.
        scopes: What one draw of a strategy's seed may affect; see ``compare``.

    Returns:
        One row per model, strategy, budget and turn from 2 on, and with more than two turns one for all of these, whose turn is ``2+``.
        ``n`` and ``clusters`` count the later questions and their images. ``score`` is their mean score over the tasks, ``retention`` what
        is kept of vanilla's on the same questions; ``score_first`` and ``retention_first`` are those of the first questions about the
        same images. ``difference`` is the change of retention. Limits are pointwise, 95 %, with images as clusters.
    """
    if "turn" not in samples or not (samples["turn"] > 1).any():
        return pd.DataFrame(columns=COLUMNS)
    turns = sorted(int(turn) for turn in samples["turn"].unique() if turn > 1)
    groups = {str(turn): [turn] for turn in turns} | ({LATER: turns} if len(turns) > 1 else {})
    rows = [row for name, wanted in groups.items() for row in _rows(samples, name, wanted, reads, scopes)]
    return pd.DataFrame(rows, columns=COLUMNS)


def add_turns(
    comparison: Comparison, samples: pd.DataFrame, reads: Mapping[str, bool], scopes: Scopes | None = None
) -> Comparison:
    """Return a comparison with the turns of its strategies, from the samples behind it (see ``compare_turns``).

    A run without turns does not say which strategies read the question: ``reads`` is empty, and the comparison stays as it is.
    """
    if not reads:
        return comparison
    compared = samples[samples["strategy"].isin(comparison.summary["strategy"].unique())]
    return replace(comparison, turns=compare_turns(compared, reads, scopes))


def _rows(
    samples: pd.DataFrame, name: str, turns: Sequence[int], reads: Mapping[str, bool], scopes: Scopes | None
) -> Iterator[Row]:
    """One row per cell of every model that has these turns."""
    place = ["model", "task", "cluster"]
    later = samples["turn"].isin(turns)
    both = pd.MultiIndex.from_frame(samples[place].astype(str)).isin(
        pd.MultiIndex.from_frame(samples.loc[later, place].astype(str))
    )
    chosen = samples[(later | (samples["turn"] == 1)) & both]
    # No name holds a NUL: the questions of a task at each turn are a task of their own.
    tasks: Any = chosen["task"].astype(str) + "\0" + np.where(chosen["turn"] == 1, _FIRST, _REST)
    try:
        found = list(panels(chosen.assign(task=tasks), scopes))
    except SamplesError:  # a cell has none of them
        return
    for panel in found:
        ends = {task.name.rpartition("\0")[0] for task in panel.tasks if task.name.endswith(_FIRST)}
        if all(task.name.rpartition("\0")[0] in ends for task in panel.tasks):
            yield from _model_rows(measure(panel, ALPHA), name, reads)


def _model_rows(measures: Measures, name: str, reads: Mapping[str, bool]) -> Iterator[Row]:
    panel = measures.panel
    first, later = (
        [at for at, task in enumerate(panel.tasks) if task.name.endswith(f"\0{end}")] for end in (_FIRST, _REST)
    )
    pairs: list[Pairing] = [(at, 0) for at in range(1, len(panel.cells))]
    kept = [_retention(measures, positions, pairs) for positions in (first, later)]
    changed = None if None in kept else subtract_contrasts(*kept)  # type: ignore[arg-type]
    columns = [_limits(one, len(panel.clusters)) for one in (*kept, changed)]
    samples = sum(len(panel.tasks[at].codes) for at in later)
    images = len(np.unique(np.concatenate([panel.tasks[at].codes for at in later])))
    for at, cell in enumerate(panel.cells):
        yield {
            **{"model": panel.model, "strategy": cell.strategy, "budget": cell.budget, "turn": name},
            **{"reads_question": reads.get(cell.strategy), "n": samples, "clusters": images},
            **_numbers(measures, "score_first", first, at),
            **_numbers(measures, "score", later, at),
            **_named("retention_first", columns[0], at, whole=1.0),
            **_named("retention", columns[1], at, whole=1.0),
            **_named("difference", columns[2], at, whole=0.0),
        }


def _retention(measures: Measures, positions: Sequence[int], pairs: Sequence[Pairing]) -> Contrasts | None:
    """Retention of every cell less vanilla's, on some tasks; None without a scale or another cell."""
    panel, scale = measures.panel, measures.scale
    if scale is None or not pairs:
        return None
    sums = [panel.sums[at] for at in positions]
    return contrasts(sums, panel.cell, pairs, scale, len(panel.clusters), panel.shared)


def _limits(found: Contrasts | None, images: int) -> tuple[Floats, Floats, Floats] | None:
    """``[C]`` values and pointwise limits, in per cent."""
    if found is None:
        return None
    critical = np.full(len(found.value), float(student_critical(ALPHA / 2, images - 1)))
    rejected = np.abs(statistic(found)) > critical
    return (found.value, *limits(found, Critical(critical, critical), rejected))


def _named(name: str, found: tuple[Floats, Floats, Floats] | None, at: int, whole: float) -> Row:
    """Retention, or a difference of it, as fractions. Vanilla, cell 0, is its own reference and has no interval."""
    names = (name, f"{name}_low", f"{name}_high")
    if at == 0 or found is None:
        return dict.fromkeys(names, whole if at == 0 else float("nan"))
    return {key: whole + float(column[at - 1]) / 100 for key, column in zip(names, found, strict=True)}


def _numbers(measures: Measures, name: str, positions: Sequence[int], at: int) -> Row:
    """The mean score of a cell over some tasks."""
    return {name: float(np.mean([measures.tasks[position].scores.value[at] for position in positions]))}


def describe_turns(comparison: Comparison) -> list[str]:
    """Return a sentence for every model on which methods are shown to keep less at later turns than at the first."""
    turns, sentences = comparison.turns, []
    if turns is None or turns.empty:
        return []
    for model, rows in turns.groupby("model", sort=False):
        last = rows[rows["turn"] == rows["turn"].iloc[-1]]
        fallen = last[last["difference_high"] < 0].sort_values("difference", kind="stable")
        if fallen.empty:
            continue
        lost = [
            f"{row['strategy']} at {row['budget']} ({percent(-row['difference'])} points less)"
            for row in fallen.to_dict("records")
        ]
        sentences.append(
            f"On {model}, accuracy kept falls after the first turn: {join_names(lost)}. The table by turn has the intervals."
        )
    return sentences


def describe_change(comparison: Comparison, model: str, budget: str) -> str:
    """Say how much the strategy that keeps most at the first turn keeps later, at a budget; empty for a run without turns."""
    turns = comparison.turns
    rows = None if turns is None else turns[(turns["model"] == model) & (turns["strategy"] != VANILLA)]
    if rows is None or rows.empty:
        return ""
    last = rows[(rows["turn"] == rows["turn"].iloc[-1]) & (rows["budget"] == budget)].dropna(subset=["retention_first"])
    if last.empty:
        return ""
    row = last.sort_values("retention_first", ascending=False, kind="stable").to_dict("records")[0]
    change = interval(
        *(row[name] for name in ("difference", "difference_low", "difference_high")), signed=True, marks=[0.0]
    )
    return (
        f"Turns at budget {budget}: {row['strategy']} keeps {percent(row['retention_first'])} % at turn 1 and {percent(row['retention'])} % at turn "
        f"{row['turn']}, a change of {change} points."
    )


def turns_table(comparison: Comparison, model: str) -> Table | None:
    """Return the accuracy kept by every strategy at the first turn and at the later ones.

    Where accuracy kept is not defined, scores take its place, vanilla's among them. The table is None for a run without turns, and for
    one without any strategy.
    """
    if comparison.turns is None:
        return None
    rows = comparison.turns[comparison.turns["model"] == model]
    if rows.empty:
        return None
    last = rows[rows["turn"] == rows["turn"].iloc[-1]]
    name, images = str(last["turn"].iloc[0]), int(last["clusters"].iloc[0])
    others = last[last["strategy"] != VANILLA]
    if others.empty:
        return None
    defined = bool(others["retention"].notna().any())
    shown = (others if defined else last).sort_values(
        "retention" if defined else "score", ascending=False, kind="stable"
    )
    records = [
        row for budget in dict.fromkeys(last["budget"]) for row in shown[shown["budget"] == budget].to_dict("records")
    ]
    return Table.of(
        "Accuracy kept by turn" if defined else "Score by turn",
        [
            Column("strategy", lambda row: str(row["strategy"]), key=True),
            Column("budget", lambda row: str(row["budget"]), key=True),
            Column("chooses tokens", _how_it_chooses, left=True),
            *(_kept_columns(name) if defined else _score_columns(name)),
        ],
        records,
        group=lambda row: str(row["budget"]),
        note=f"The first question about an image chooses the tokens, and later ones are asked of what it left. {count_of(int(last['n'].iloc[0]), 'later question')} "
        f"on {count_of(images, 'image')}, and the first questions about the same images. {INTERVALS if defined else UNDEFINED} "
        "A method that is blind to the question keeps the same tokens whichever question comes first, so that its change shows no more than how "
        "the questions differ.",
    )


def _kept_columns(turn: str) -> list[Column[Any]]:
    return [
        Column("turn 1, % [95 % CI]", partial(_kept, "retention_first")),
        Column(f"turn {turn}, % [95 % CI]", partial(_kept, "retention")),
        Column("change, points [95 % CI]", _change),
    ]


def _score_columns(turn: str) -> list[Column[Any]]:
    def change(row: Mapping[Hashable, Any]) -> Entry:
        value = row["score"] - row["score_first"]
        return Entry.number(percent(value, signed=True), value)

    return [
        Column("turn 1, score %", lambda row: Entry.number(percent(row["score_first"]), row["score_first"])),
        Column(f"turn {turn}, score %", lambda row: Entry.number(percent(row["score"]), row["score"])),
        Column("change, points", change),
    ]


def _how_it_chooses(row: Mapping[Hashable, Any]) -> str:
    reads = row["reads_question"]
    return NOTHING if reads is None else "by the question" if reads else "blind to the question"


def _kept(name: str, row: Mapping[Hashable, Any]) -> Entry:
    return Entry.number(interval(row[name], row[f"{name}_low"], row[f"{name}_high"]), row[name])


def _change(row: Mapping[Hashable, Any]) -> Entry:
    value, low, high = (row[name] for name in ("difference", "difference_low", "difference_high"))
    tone: Tone = "bad" if high < 0 else "good" if low > 0 else "neutral"
    return Entry.number(interval(value, low, high, signed=True, marks=[0.0]), value, tone=tone)
