"""Every question of a model with the verdict on every cell's answer: what the page filters, and what its counts count."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tokenbench_reports.html.gallery import RIGHT

__all__ = ["NO", "NONE", "YES", "Index", "make_index"]

NO, YES, NONE = ord("0"), ord("1"), ord("-")
"""The signs for an answer that is wrong, one that is right, and one that is missing or neither."""


@dataclass(frozen=True)
class Index:
    """The questions of one model."""

    questions: list[tuple[str, str]]
    """The (task, sample) pairs, N in all."""
    cells: list[tuple[str, str]]
    """The (strategy, budget) pairs, C in all; of several seeds, the first one stands for the cell."""
    verdicts: npt.NDArray[np.uint8]
    """``[N, C]`` signs: ``YES``, ``NO`` or ``NONE``."""

    def cell(self, strategy: str, budget: str) -> int | None:
        """The number of a cell; a strategy without budgets, such as vanilla, has one for all."""
        own = [at for at, (name, _) in enumerate(self.cells) if name == strategy]
        exact = [at for at in own if self.cells[at][1] == budget]
        return exact[0] if exact else own[0] if len(own) == 1 else None

    def count(self, a: int, b: int) -> list[list[int]]:
        """How many questions: first cell right or wrong, by second cell right or wrong."""
        first, second = self.verdicts[:, a], self.verdicts[:, b]
        return [[int(((first == x) & (second == y)).sum()) for y in (YES, NO)] for x in (YES, NO)]

    def divided(self, a: int, b: int, most: int) -> list[int]:
        """The first questions that cell ``a`` answers right and cell ``b`` wrong."""
        there = (self.verdicts[:, a] == YES) & (self.verdicts[:, b] == NO)
        return [int(at) for at in np.flatnonzero(there)[:most]]

    def order(self, strategies: Sequence[str]) -> "Index":
        """The same with the cells of these strategies first, in this order."""
        place = {name: at for at, name in enumerate(strategies)}
        order = sorted(range(len(self.cells)), key=lambda at: place.get(self.cells[at][0], len(place)))
        return Index(self.questions, [self.cells[at] for at in order], self.verdicts[:, order])


def make_index(rows: pd.DataFrame, graded: Collection[str]) -> Index:
    """Arrange a model's answers by question and cell.

    Args:
        rows: One row for every answer of the model, of one seed of each cell, with columns task, sample, strategy,
            budget and score.
        graded: The tasks whose answers are neither right nor wrong.
    """
    asked = pd.MultiIndex.from_frame(rows[["task", "sample"]].astype(str))
    given = pd.MultiIndex.from_frame(rows[["strategy", "budget"]].astype(str))
    questions, cells = asked.unique(), given.unique()
    verdicts = np.full((len(questions), len(cells)), NONE, dtype=np.uint8)
    signs = np.where(rows["score"].to_numpy() >= RIGHT, YES, NO).astype(np.uint8)
    signs[rows["task"].astype(str).isin(graded).to_numpy() | rows["score"].isna().to_numpy()] = NONE
    verdicts[questions.get_indexer(asked), cells.get_indexer(given)] = signs
    return Index(list(questions), list(cells), verdicts)
