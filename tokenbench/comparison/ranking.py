"""Who is ahead of whom at a budget, from the verdicts alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokenbench.comparison.pairs import MEAN
from tokenbench.comparison.verdicts import Kind
from tokenbench.contract.cells import VANILLA

if TYPE_CHECKING:
    import pandas as pd

    from tokenbench.comparison import Comparison

__all__ = ["UNEQUAL_COST", "Ranking", "rank_strategies"]


UNEQUAL_COST = 0.01
"""Realised costs that differ by more than this share are marked."""


@dataclass(frozen=True)
class Ranking:
    """The strategies of one model at one budget."""

    budget: str
    """The budget, as the user wrote it."""
    strategies: list[str]
    """Their names by retention, highest first."""
    beats: frozenset[tuple[str, str]]
    """The pairs (a, b) in which a is significantly better."""
    dearer: frozenset[tuple[str, str]]
    """The pairs (a, b) in which a kept more visual tokens, over all layers."""
    unpriced: bool = False
    """Whether it is unknown of any two which of them kept more, so that nothing may be said about equal cost."""
    complete: bool = True
    """Whether every two of the strategies were compared, and accuracy kept is defined."""

    @property
    def compared(self) -> bool:
        """Whether there is more than one strategy and every two were compared, so that ranks say something."""
        return self.complete and len(self.strategies) > 1

    @property
    def unequal(self) -> bool:
        """Whether any two differ in realised cost."""
        return bool(self.dearer)

    def cheaper_than(self, strategy: str) -> list[str]:
        """The strategies that kept fewer tokens."""
        return [name for name in self.strategies if (strategy, name) in self.dearer]

    @property
    def top(self) -> list[str]:
        """The highest retention and all that are not distinguishable from it."""
        first = self.strategies[0]
        return [name for name in self.strategies if (first, name) not in self.beats]

    def ranks(self, strategy: str) -> tuple[int, int]:
        """Lowest and highest rank that the verdicts leave open."""
        better = sum((other, strategy) in self.beats for other in self.strategies)
        worse = sum((strategy, other) in self.beats for other in self.strategies)
        return 1 + better, len(self.strategies) - worse

    @property
    def winner(self) -> str | None:
        """The strategy that is better than every other one, if there is one."""
        first, *others = self.strategies
        return first if others and all((first, other) in self.beats for other in others) else None


def rank_strategies(comparison: Comparison, model: str) -> list[Ranking]:
    """One ranking per budget, in the order of the summary."""
    cells = comparison.summary
    cells = cells[(cells["model"] == model) & (cells["task"] == MEAN) & (cells["strategy"] != VANILLA)]
    pairs = comparison.pairs
    pairs = pairs[(pairs["model"] == model) & (pairs["family"] == "F2")]
    return [_rank(budget, cells, pairs) for budget in dict.fromkeys(cells["budget"])]


def _rank(budget: str, cells: pd.DataFrame, pairs: pd.DataFrame) -> Ranking:
    here = cells[cells["budget"] == budget].sort_values("retention", ascending=False, kind="stable")
    pairs = pairs[pairs["budget"] == budget]
    triples = list(zip(pairs["a"], pairs["b"], pairs["verdict"], strict=True))
    beats = {(a, b) for a, b, verdict in triples if verdict.sign > 0}
    beats |= {(b, a) for a, b, verdict in triples if verdict.sign < 0}
    costs = list(zip(pairs["a"], pairs["b"], pairs["cost_ratio"], strict=True))
    dearer = {(a, b) for a, b, ratio in costs if ratio > 1 + UNEQUAL_COST}
    dearer |= {(b, a) for a, b, ratio in costs if ratio < 1 - UNEQUAL_COST}
    names = list(here["strategy"])
    defined = sum(verdict.kind is not Kind.UNDEFINED for verdict in pairs["verdict"])
    complete = defined == len(names) * (len(names) - 1) // 2
    unpriced = any(ratio != ratio for _, _, ratio in costs)
    return Ranking(budget, names, frozenset(beats), frozenset(dearer), unpriced, complete)
