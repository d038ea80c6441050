"""The scorers of tables, by the names that users write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tokenbench.contract import scorers

__all__ = ["LENGTHS", "SCORERS", "SETTINGS", "Answer"]


class Answer(NamedTuple):
    """What a row says about its answer."""

    targets: list[str]
    """The right answers."""
    options: list[str]
    """The options; empty if there are none."""

    @property
    def usual(self) -> str:
        """The right answer that most people give; of several, the first."""
        return max(self.targets, key=self.targets.count)


Scoring = Callable[[str, Answer, Mapping[str, float]], float]
SCORERS: dict[str, Scoring] = {
    "exact": lambda said, row, _: scorers.exact(said, row.targets),
    "contains": lambda said, row, _: scorers.contains(said, row.targets),
    "choice": lambda said, row, _: max(scorers.choice(said, target, row.options) for target in row.targets),
    "numeric": lambda said, row, numbers: max(scorers.numeric(said, target, **numbers) for target in row.targets),
    "anls": lambda said, row, numbers: scorers.anls(said, row.targets, **numbers),
    "vqa": lambda said, row, _: scorers.vqa_accuracy(said, row.targets),
    "iou": lambda said, row, numbers: max(scorers.box_overlap(said, target, **numbers) for target in row.targets),
}
"""The scorers."""
SETTINGS = {"numeric": "tolerance", "anls": "threshold", "iou": "threshold"}
"""The number that a scorer takes."""
LENGTHS = {"choice": 8, "iou": 48}
"""How many tokens an answer may have; 32 for the other scorers."""
