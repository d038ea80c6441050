"""What the page shows for one model at one budget: ranks, verdicts of all pairs, kept tokens."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from tokenbench.comparison import MEAN
from tokenbench.comparison.ranking import Ranking
from tokenbench.comparison.tables import verdict_entry
from tokenbench.comparison.wording import interval, number, p_value, percent
from tokenbench.statistics.ranks import ENOUGH_TASKS, Ranks, rank_test
from tokenbench.tables import Column, Entry, Table
from tokenbench_reports.html.kept import agreement
from tokenbench_reports.html.maps import BiasMap


@dataclass(frozen=True)
class RankBar:
    """The ranks of one strategy that the verdicts leave open, drawn as a bar."""

    strategy: str
    """The strategy."""
    low: int
    """The best rank."""
    high: int
    """The worst rank."""
    left: float
    """The bar's left edge, in per cent of the picture's width."""
    width: float
    """The bar's width, in per cent of the picture's width."""
    top: bool
    """Whether the strategy may be the best."""


@dataclass(frozen=True)
class CriticalDifference:
    """A critical-difference picture: places of the mean ranks, and the groups no pair of which is distinguishable."""

    ranks: Ranks
    """The test behind it."""
    marks: list[tuple[str, float, float]]
    """(strategy, mean rank, place in per cent), best first."""
    groups: list[tuple[float, float]]
    """(left, right) in per cent."""
    length: float
    """The length of the critical difference, in per cent."""


@dataclass(frozen=True)
class BudgetView:
    """Everything for one budget."""

    budget: str
    """The budget."""
    ranks: list[RankBar]
    """The ranks that the verdicts leave open."""
    matrix: Table
    """The verdicts of all pairs."""
    critical: CriticalDifference | None
    """The critical-difference picture; None if there are too few tasks."""
    agreement: Table | None
    """How much of what two strategies keep is the same; None if it is not known."""
    maps: list[BiasMap]
    """Where on the image the strategies keep tokens."""


def budget_view(
    ranking: Ranking, between: pd.DataFrame, summary: pd.DataFrame, samples: pd.DataFrame, maps: list[BiasMap]
) -> BudgetView:
    """Arrange one budget; ``samples`` are thinned rows of the model, ``between`` its F2 pairs."""
    here = between[between["budget"] == ranking.budget]
    return BudgetView(
        budget=ranking.budget,
        ranks=_ranks(ranking),
        matrix=_matrix(ranking, here),
        critical=_critical(ranking, summary[summary["budget"] == ranking.budget], here),
        agreement=_agreement(ranking, samples[samples["budget"] == ranking.budget]),
        maps=sorted(
            (one for one in maps if one.budget == ranking.budget), key=lambda m: ranking.strategies.index(m.strategy)
        ),
    )


def _ranks(ranking: Ranking) -> list[RankBar]:
    total = len(ranking.strategies)
    bars = []
    for name in ranking.strategies:
        low, high = ranking.ranks(name)
        bars.append(
            RankBar(name, low, high, 100 * (low - 1) / total, 100 * (high - low + 1) / total, name in ranking.top)
        )
    return bars


def _matrix(ranking: Ranking, pairs: pd.DataFrame) -> Table:
    """The verdict on the strategy of the row against that of the column."""
    by_names = {(row["a"], row["b"]): row for row in pairs.to_dict("records")}

    def relation(b: str, a: str) -> Entry:
        return Entry() if a == b else _relation(a, b, by_names)

    title = f"Row against column at {ranking.budget}: ▲ better, ▼ worse, · not distinguishable (adjusted, family F2)"
    columns = [Column(b, partial(relation, b)) for b in ranking.strategies]
    return Table.of(title, [Column("", str, key=True), *columns], ranking.strategies)


def _relation(a: str, b: str, pairs: Mapping[tuple[str, str], Mapping[Hashable, Any]]) -> Entry:
    row, sign = (pairs[a, b], 1.0) if (a, b) in pairs else (pairs[b, a], -1.0)
    difference, low, high = (sign * row[name] for name in ("difference", "low", "high"))
    verdict = row["verdict"] if sign > 0 else row["verdict"].opposite
    ends = sorted((low, high)) if low == low else (low, high)
    hint = (
        f"{a} − {b}: {interval(difference, *ends, signed=True, marks=[0.0])} points of retention, p {p_value(row['p'])}"
    )
    return verdict_entry(verdict, hint=hint)


def _critical(ranking: Ranking, cells: pd.DataFrame, pairs: pd.DataFrame) -> CriticalDifference | None:
    """Mean ranks over the tasks, one row a task; only where there are enough tasks."""
    scores = cells[cells["task"] != MEAN].pivot(index="task", columns="strategy", values="score")
    if len(scores) < ENOUGH_TASKS:
        return None
    scores = scores[ranking.strategies]
    ranks = rank_test(scores.to_numpy(dtype=np.float64))
    total = len(ranking.strategies)
    order = np.argsort(ranks.mean, kind="stable")
    places = 100 * (ranks.mean - 1) / max(1, total - 1)
    apart = {
        frozenset((a, b))
        for a, b, verdict in zip(pairs["a"], pairs["b"], pairs["verdict"], strict=True)
        if verdict.sign
    }
    names = [ranking.strategies[at] for at in order]
    marks = [(ranking.strategies[at], float(ranks.mean[at]), float(places[at])) for at in order]
    spans = [(marks[i][2], marks[j][2]) for i, j in cliques(names, apart)]
    return CriticalDifference(ranks, marks, spans, 100 * ranks.critical_difference / max(1, total - 1))


def cliques(names: list[str], apart: set[frozenset[str]]) -> list[tuple[int, int]]:
    """The longest runs of neighbours no two of which are significantly different, as (first, last) positions."""
    runs: list[tuple[int, int]] = []
    for first in range(len(names)):
        last = first
        while last + 1 < len(names) and not any(
            frozenset((names[last + 1], name)) in apart for name in names[first : last + 1]
        ):
            last += 1
        if last > first and not (runs and runs[-1][1] >= last):
            runs.append((first, last))
    return runs


def _agreement(ranking: Ranking, samples: pd.DataFrame) -> Table | None:
    shares = agreement(samples)
    if shares.empty:
        return None
    by_names = {frozenset((row["a"], row["b"])): row for row in shares.to_dict("records")}

    def overlap(b: str, a: str) -> Entry:
        row = by_names.get(frozenset((a, b)))
        if a == b or row is None:
            return Entry()
        hint = f"{a} and {b}: {percent(row['overlap'], 0)} % in common, by chance {percent(row['chance'], 0)} %"
        return Entry.number(number(100 * row["overlap"], 0), row["overlap"], hint=hint)

    title = f"Kept by both at {ranking.budget}, % of what either keeps to the end (mean over samples)"
    columns = [Column(b, partial(overlap, b), look="tint") for b in ranking.strategies]
    return Table.of(title, [Column("", str, key=True), *columns], ranking.strategies)
