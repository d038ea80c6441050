"""What is known of one public task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokenbench.contract.suite import UnitRule
from tokenbench.statistics.strata import WITHIN

__all__ = ["UNKNOWN", "CatalogueEntry"]


@dataclass(frozen=True)
class CatalogueEntry:
    """What TokenBench knows of one task."""

    description: str
    """What the task asks, in one line."""
    source: str
    """What to download, as arguments of `hf download`, or where to ask for it."""
    size: str
    """How much that is, for a person to read."""
    licence: str
    """The licence of the data."""
    metric: str = "mean of exact matches"
    """What the official number is."""
    headline: str = ""
    """The official number that scores are held against; by default, the first metric that all rows have."""
    part: str = ""
    """The metric that has the numbers of a unit's samples; by default, the same."""
    unit: str = ""
    """A template over the columns of a row that names its unit; empty if every sample is its own unit."""
    unit_rule: UnitRule = "mean"
    """How the scores of a unit's samples become one score, see `Task.unit_rule`."""
    stratum: str = ""
    """A template over the columns of a row that names its stratum; empty if there are no strata."""
    numbers: tuple[str, ...] = ()
    """The fields that may hold the number of an answer in what the task notes of it."""
    samples: int = 0
    """How many answers it takes; 0 if that is only known once the data is here."""
    rules: bool = False
    """Whether the task's code reads answers by rules and asks a judge for those that no rule reads. Here, these are wrong."""

    def unit_of(self, row: Mapping[str, Any]) -> str:
        """Return the unit of a row; empty if it is its own."""
        return self.unit.format_map(_derive(row)) if self.unit else ""

    def stratum_of(self, row: Mapping[str, Any]) -> str:
        """Return the stratum of a row; empty if there are none."""
        return self.stratum.format_map(_derive(row)) if self.stratum else ""


def _derive(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with what its columns say together.

    The rotations of an MMBench question have the question's index plus whole millions. MMVP numbers the pictures of its pairs from 1, and
    NaturalBench the questions of its groups from 0. The three kinds of VSI-Bench's questions about directions are one for its number.
    """
    values = dict(row)
    if "index" in values and str(values["index"]).isdigit():
        values["question"] = int(values["index"]) % 1_000_000
    if str(values.get("Index", "")).isdigit():
        values["pair"], values["group"] = (int(values["Index"]) - 1) // 2, int(values["Index"]) // 4
    if "question_type" in values:
        values["kind"] = str(values["question_type"]).replace("rel_direction_", f"rel_direction{WITHIN}")
    return values


UNKNOWN = CatalogueEntry("A task of lmms-eval", "", "", "see the data set's card")
"""What is known of a task that has no entry."""
