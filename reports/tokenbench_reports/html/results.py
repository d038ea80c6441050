"""The table of results: one row a strategy, at one budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenbench.comparison.ranking import Ranking
from tokenbench.comparison.wording import NOTHING, UNKNOWN, interval, marks_of, number, percent
from tokenbench_reports.html.cells import Cell, at_budget
from tokenbench_reports.html.marks import Mark
from tokenbench_reports.html.scale import Bar, Scale, kept_range


@dataclass(frozen=True)
class Number:
    """An entry that the page may sort by."""

    text: str
    """What is shown."""
    value: float
    """What it is sorted by."""


@dataclass(frozen=True)
class ResultRow:
    """One strategy."""

    strategy: str
    """The strategy."""
    budget: str
    """Its budget."""
    look: str
    """The end of its classes."""
    floor: bool
    """Whether it is a trivial baseline."""
    rank: str
    """Whether it is the best, or not to be told from it; else empty."""
    kept: Number
    """The accuracy kept."""
    limits: str
    """Its interval, with brackets; empty if there is none."""
    places: Bar | None
    """Lower limit, value and upper limit, in per cent of the picture's width."""
    loses: str
    """Whether it loses more than the margin."""
    verdict: str
    """The verdict in full."""
    costs: list[Number]
    """The costs that the table shows."""
    evidence: Number
    """The evidence kept."""
    above: Number
    """How far above random tokens it is."""

    @property
    def fold(self) -> str:
        """The costs in a line, for narrow screens."""
        names = ("tokens", "of the FLOPs", "of the KV cache", "of the time")
        return ", ".join(
            f"{cost.text} {name}" for cost, name in zip(self.costs, names, strict=False) if cost.value > float("-inf")
        )


@dataclass(frozen=True)
class Results:
    """The rows of all budgets, on one scale."""

    budgets: dict[str, list[ResultRow]]
    """The rows of every budget: strategies, then floors, the best first."""
    vanilla: list[str]
    """The costs of the unpruned model."""
    whole: str
    """Its accuracy kept, or its score where no accuracy kept is defined."""
    ticks: list[tuple[float, str]]
    """(place in per cent, text) of the scale."""
    hundred: float
    """The place of 100 %."""
    timed: bool
    """Whether time was measured."""
    evidence: bool
    """Whether evidence is known."""
    above: bool
    """Whether random tokens ran."""


def results(
    cells: Sequence[Cell],
    rankings: Mapping[str, Ranking],
    marks: Mapping[str, Mark],
    vanilla: Mapping[Any, Any],
    margin: float,
) -> Results:
    """Arrange the table for the budgets of ``rankings``."""
    low, high = kept_range(cells)
    scale = Scale(low, high, 3.0, 97.0)
    keys = ["tokens", "flops", "cache", *(["time"] if any("time" in cell.costs for cell in cells) else [])]
    rows = {
        budget: [_row(cell, rankings, marks, scale, keys, margin) for cell in at_budget(cells, budget)]
        for budget in rankings
    }
    return Results(
        rows,
        [
            number(tokens) if (tokens := vanilla["realised_tokens"]) == tokens else UNKNOWN,
            *("100 %" if any(key in cell.costs for cell in cells) else UNKNOWN for key in keys[1:]),
        ],
        "100.0" if vanilla["retention"] == vanilla["retention"] else _score(vanilla["score"]),
        [(scale(tick), number(tick, 0)) for tick in (20.0 * at for at in range(int(low // 20), 6))],
        scale(100.0),
        "time" in keys,
        any(cell.evidence == cell.evidence for cell in cells),
        any(cell.above == cell.above for cell in cells),
    )


def _row(
    cell: Cell,
    rankings: Mapping[str, Ranking],
    marks: Mapping[str, Mark],
    scale: Scale,
    keys: Sequence[str],
    margin: float,
) -> ResultRow:
    value, low, high = (part / 100 for part in cell.kept)
    text = interval(value, low, high, marks=marks_of(margin))
    shown, _, limits = text.partition(" ")
    return ResultRow(
        cell.strategy,
        cell.budget,
        marks[cell.strategy].look,
        cell.floor,
        _rank(cell, rankings.get(cell.budget)),
        Number(shown if value == value else _score(cell.score), cell.kept[0]),
        limits,
        _places(cell, scale),
        cell.verdict.answer if cell.verdict else NOTHING,
        cell.verdict.text if cell.verdict else "",
        [_cost(cell, key) for key in keys],
        _share(cell.evidence),
        _share(cell.above),
    )


def _places(cell: Cell, scale: Scale) -> Bar | None:
    value, low, high = cell.kept
    if value != value:
        return None
    return scale.bar(value, low, high) if low == low else scale.bar(value, value, value)


def _rank(cell: Cell, ranking: Ranking | None) -> str:
    if ranking is None or not ranking.compared or cell.strategy not in ranking.top:
        return ""
    if cell.strategy == ranking.winner:
        return "best"
    return "≈ best" if 1 < len(ranking.top) < len(ranking.strategies) else ""


def _cost(cell: Cell, key: str) -> Number:
    if key not in cell.costs:
        return Number(NOTHING if key == "time" else UNKNOWN, float("-inf"))
    value = cell.costs[key][0]
    return Number(number(value) if key == "tokens" else f"{number(value, 0)} %", value)


def _score(value: float) -> str:
    return f"score {percent(value)}"


def _share(value: float) -> Number:
    return Number(f"{percent(value, 0)} %", value) if value == value else Number(NOTHING, float("-inf"))
