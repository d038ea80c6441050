"""Looks: the times at which verdicts on growing data are shown, and what each of them saw.

Whoever looks at verdicts, extends the run and looks again has had two chances of a false one. A run therefore counts
its looks, and a comparison spends its error over them: along a declared plan (`declared`), or look by look where
nothing was declared.

Samples say which look saw them first: a row's column ``look`` counts from 1, and look j saw the rows with ``look <=
j``. A strategy that was decided at a look is not run further, so that its rows end there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from tokenbench.contract.cells import IDENTITY

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMN", "Looks", "ModelTreatment", "Spending", "find_frozen", "rows_until"]

Spending = Literal["obrien-fleming", "pocock", "counted"]
ModelTreatment = tuple[str, str, str]  # model, strategy, budget
COLUMN = "look"


@dataclass(frozen=True)
class Looks:
    """All looks at a run so far, the present one last."""

    declared: bool
    """Whether the maximum was declared before the first look, so that error is spent along ``fractions``."""
    maximum: Mapping[str, int] | None
    """Images by task that the run will have at the most; None where nothing was declared."""
    fractions: tuple[float, ...]
    """How much of the maximum each look saw, rising, at most 1: the mean over tasks of the share of images. Where
    nothing was declared, the share of what the last look saw."""
    spending: Spending
    """How error is spent; ``counted`` where nothing was declared."""
    images: tuple[Mapping[str, int], ...]
    """For each look, how many images of each task it saw. A task that came later is not among those of earlier looks."""
    planned: int | None = None
    """How many looks were declared; None where nothing was."""
    frozen: Mapping[ModelTreatment, int] = field(default_factory=dict)
    """Cells whose samples end before the present look, with the last look that saw all of what they have: their
    statistics stay those of that look. All other cells have all samples of the present look."""

    def __len__(self) -> int:
        """How many looks there were, the present one included."""
        return len(self.fractions)

    def until(self, look: int) -> Looks:
        """Return the state at an earlier look, counted from 1."""
        kept = (
            self
            if self.declared
            else replace(self, fractions=tuple(f / self.fractions[look - 1] for f in self.fractions))
        )
        return replace(
            kept,
            fractions=kept.fractions[:look],
            images=self.images[:look],
            frozen={cell: last for cell, last in self.frozen.items() if last < look},
        )


def rows_until(samples: pd.DataFrame, look: int) -> pd.DataFrame:
    """The rows that a look saw, counted from 1."""
    return samples[samples[COLUMN] <= look]


def find_frozen(samples: pd.DataFrame) -> dict[ModelTreatment, int]:
    """Cells whose samples end before those of others do, with the last look of which they have all: on any task or seed.

    Of a model that was decided as a whole, before another one, these are all cells, vanilla included.
    """
    looks = {task: sorted(own) for task, own in samples.groupby("task", observed=True)[COLUMN].unique().items()}
    found: dict[ModelTreatment, int] = {}
    last = samples.groupby([*IDENTITY], observed=True)[COLUMN].max().reset_index()
    for row in last.to_dict("records"):
        if missing := [int(look) for look in looks[row["task"]] if look > row[COLUMN]]:
            cell = (str(row["model"]), str(row["strategy"]), str(row["budget"]))
            found[cell] = min(found.get(cell, missing[0]), missing[0] - 1)
    return found
