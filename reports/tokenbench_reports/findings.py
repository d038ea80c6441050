"""What the verdicts show at one budget: which methods lead, and whether any of them beats the trivial baselines.

A strategy that prunes and is no trivial baseline is a *method*. Everything here is read off the verdicts of family F2,
whose intervals are simultaneous; an estimate alone makes no method a winner.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from math import isnan
from typing import Any

from tokenbench.comparison import MEAN, Comparison
from tokenbench.comparison.panel import budget_size
from tokenbench.comparison.ranking import Ranking, rank_strategies
from tokenbench.contract.cells import VANILLA, base_of, is_trivial

__all__ = ["Case", "Difference", "Finding", "find", "vanilla_of"]

Cell = Mapping[Any, Any]


class Case(Enum):
    """What kind of finding it is; every kind has a sentence of its own."""

    BEST = "one method is better than every other strategy"
    LEAD = "some methods are worse than the highest, and some cannot be told apart from it"
    OPEN = "no method can be told apart from the highest"
    FLOOR = "no method is better than a certain trivial baseline"
    ONE = "there is one method"
    MANY = "the methods are too many to have been compared with each other"
    UNTESTED = "no pair of strategies has an interval"
    TRIVIAL = "there are trivial baselines only"


@dataclass(frozen=True)
class Difference:
    """One strategy minus another, in fractions of vanilla's score, with its simultaneous interval."""

    value: float
    """The difference."""
    low: float
    """The lower limit; NaN if there is none."""
    high: float
    """The upper limit; NaN if there is none."""
    at_noise_floor: bool
    """Whether it is no larger than between two runs of vanilla."""


@dataclass(frozen=True)
class Finding:
    """The strategies of one model at one budget."""

    ranking: Ranking
    """All of them, with the verdicts between them."""
    cells: Mapping[str, Cell]
    """By strategy, the row of the summary over all tasks."""
    pairs: Mapping[tuple[str, str], Cell]
    """By the two strategies, the row of family F2."""

    @property
    def budget(self) -> str:
        """The budget, as the user wrote it."""
        return self.ranking.budget

    @cached_property
    def methods(self) -> list[str]:
        """The methods by accuracy kept, highest first."""
        return [name for name in self.ranking.strategies if not is_trivial(name)]

    @cached_property
    def floors(self) -> list[str]:
        """The trivial baselines by accuracy kept, highest first."""
        return [name for name in self.ranking.strategies if is_trivial(name) and base_of(name) != VANILLA]

    @cached_property
    def unbeaten(self) -> list[str]:
        """The trivial baselines that no method was shown to beat, highest first."""
        return [floor for floor in self.floors if not any(self.beats(name, floor) for name in self.methods)]

    @property
    def intervals(self) -> list[Cell]:
        """The pairs that have an interval, and so a verdict."""
        return [pair for pair in self.pairs.values() if not isnan(pair["low"])]

    @property
    def case(self) -> Case:
        """What kind of finding it is."""
        if not self.methods:
            return Case.TRIVIAL
        if self.pairs and not self.intervals:
            return Case.UNTESTED
        if self.unbeaten:
            return Case.FLOOR
        if len(self.methods) == 1:
            return Case.ONE
        if not self.ranking.complete:
            return Case.MANY
        if self.winner:
            return Case.BEST
        return Case.OPEN if len(self.leaders) == len(self.methods) else Case.LEAD

    @property
    def winner(self) -> str | None:
        """The method that is better than every other method and every trivial baseline, of several methods."""
        return self.ranking.winner if len(self.methods) > 1 and self.ranking.winner in self.methods else None

    @property
    def leaders(self) -> list[str]:
        """The method with the highest accuracy kept, and all methods that cannot be told apart from it.

        It is alone where the methods were not compared with each other.
        """
        if not self.ranking.complete:
            return self.methods[:1]
        return [name for name in self.methods if not self.beats(self.methods[0], name)]

    def beats(self, a: str, b: str) -> bool:
        """Whether a was shown to be better than b."""
        return (a, b) in self.ranking.beats

    def difference(self, a: str, b: str) -> Difference:
        """Subtract b from a."""
        if (a, b) in self.pairs:
            row, sign = self.pairs[a, b], 1.0
            low, high = row["low"], row["high"]
        else:
            row, sign = self.pairs[b, a], -1.0
            low, high = -row["high"], -row["low"]
        return Difference(sign * row["difference"], low, high, bool(row.get("at_noise_floor", False)))


def find(comparison: Comparison, model: str) -> list[Finding]:
    """One finding for each budget of a model: that with the most methods first, then from the largest to the smallest.

    Budgets at which retention is not defined are left out, and those of trivial baselines alone unless there is no other.
    """
    summary, pairs = comparison.summary, comparison.pairs
    cells = summary[(summary["model"] == model) & (summary["task"] == MEAN) & summary["retention"].notna()]
    between = pairs[(pairs["model"] == model) & (pairs["family"] == "F2")]
    found = [
        Finding(
            ranking,
            {row["strategy"]: row for row in cells[cells["budget"] == ranking.budget].to_dict("records")},
            {(row["a"], row["b"]): row for row in between[between["budget"] == ranking.budget].to_dict("records")},
        )
        for ranking in rank_strategies(comparison, model)
    ]
    found = sorted((one for one in found if one.cells), key=lambda one: -budget_size(one.budget))
    found = [one for one in found if one.methods] or [one for one in found if one.floors]
    if not found:
        return []
    first = max(found, key=lambda one: len(one.methods))
    return [first, *(one for one in found if one is not first)]


def vanilla_of(comparison: Comparison, model: str) -> Cell:
    """The row of vanilla over all tasks."""
    cells = comparison.summary
    cells = cells[(cells["model"] == model) & (cells["task"] == MEAN) & (cells["strategy"] == VANILLA)]
    return dict(cells.iloc[0])
