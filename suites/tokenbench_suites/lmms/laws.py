"""Laws by which an official number follows from the scores of units, and which of them fits what a task computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple, get_args

import numpy as np

from tokenbench.contract.suite import UnitRule
from tokenbench.statistics import stratum_weights

__all__ = ["Draw", "Form", "Item", "Law", "combine", "find_law"]

EXACT = 1e-3
"""How far a number may be from what a law says, relative to the number for right answers alone."""
SURE = 3
"""How many draws at least must have a number other than 0 to tell a law from another."""
Form = Literal["mean", "sum", "sum of strata"]


class Item(NamedTuple):
    """A unit with its score, as an official number sees it."""

    score: float
    """Its score, from 0 to 1."""
    strata: dict[str, str]
    """By column, what it says of the unit."""
    empty: bool = False
    """Whether all its answers are empty."""


class Draw(NamedTuple):
    """Answers to some units, and what the task makes of them."""

    items: Sequence[Item]
    """The units."""
    official: float
    """The number of the task."""


@dataclass(frozen=True)
class Law:
    """How an official number follows from the scores of units."""

    form: Form
    """`mean`: a constant times the mean over strata of the mean of their scores; `sum`: the constant counts for each unit, as where
    a benchmark divides by its full size whatever is asked; `sum of strata`: the constant counts for each stratum that occurs."""
    factor: float = 1.0
    """The constant."""
    stratum: str = ""
    """The column that names the stratum of a row; empty if there are no strata."""
    skips_empty: bool = False
    """Whether units without an answer are left out of the official number."""

    def number(self, items: Sequence[Item]) -> float:
        """The official number for these units."""
        return self._size(items) * self._mean(items)

    def allows(self, items: Sequence[Item], official: float) -> bool:
        """Whether a number is the official one for these units, but for rounding."""
        return abs(self.number(items) - official) <= EXACT * self._size(items)

    def _size(self, items: Sequence[Item]) -> float:
        """The number if all units are right."""
        if self.form == "sum":
            return self.factor * len(self._counted(items))
        return self.factor * (len(self._strata(items)) if self.form == "sum of strata" else 1)

    def _mean(self, items: Sequence[Item]) -> float:
        strata = self._strata(items)
        names = [name for name, scores in strata.items() for _ in scores]
        scores = [score for own in strata.values() for score in own]
        return float(np.mean(stratum_weights(names) * scores)) if scores else 0.0

    def _counted(self, items: Sequence[Item]) -> list[Item]:
        return [item for item in items if not (self.skips_empty and item.empty)]

    def _strata(self, items: Sequence[Item]) -> dict[str, list[float]]:
        strata: dict[str, list[float]] = {}
        for item in self._counted(items):
            strata.setdefault(item.strata[self.stratum] if self.stratum else "", []).append(item.score)
        return strata


def find_law(draws: Sequence[Draw], columns: Sequence[str] = ()) -> Law | None:
    """Return the simplest law that gives the number of every draw.

    Args:
        draws: Answers with their official numbers.
        columns: The columns that may name strata, the likeliest first.

    Returns:
        The law; None if none fits, or if the draws do not tell.
    """
    told = [draw for draw in draws if draw.official > 0]
    if len(told) < min(SURE, len(draws)):
        return None
    for shape in _shapes(columns):
        largest = max(told, key=lambda draw: shape.number(draw.items))
        if not shape.number(largest.items):
            continue
        law = Law(shape.form, largest.official / shape.number(largest.items), shape.stratum, shape.skips_empty)
        if all(law.allows(draw.items, draw.official) for draw in draws):
            return law
    return None


def _shapes(columns: Sequence[str]) -> Iterator[Law]:
    """Laws with the constant 1, the simplest first."""
    for skips, stratum, form in product((False, True), ("", *columns), get_args(Form)):
        if stratum or form != "sum of strata":
            yield Law(form, stratum=stratum, skips_empty=skips)


def combine(scores: Sequence[float], rule: UnitRule) -> float:
    """The score of a unit, given those of its samples."""
    mean, every = sum(scores) / len(scores), min(scores)
    return {"mean": mean, "all": every, "mean+all": (mean + every) / 2}[rule]
