"""What is known of one public task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokenbench.contract.suite import UnitRule

__all__ = ["CatalogueEntry"]


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

    def unit_of(self, row: Mapping[str, Any]) -> str:
        """Return the unit of a row.

        The rotations of an MMBench question have the question's index plus whole millions. MMVP numbers the pictures of its pairs from 1.
        """
        values = dict(row)
        if "index" in values and str(values["index"]).isdigit():
            values["question"] = int(values["index"]) % 1_000_000
        if "Index" in values:
            values["pair"] = (int(values["Index"]) - 1) // 2
        return self.unit.format_map(values)
