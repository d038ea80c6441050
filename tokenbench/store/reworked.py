"""Runs whose samples are not as their files hold them: joined with others, or judged anew."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from tokenbench.store.frames import selected
from tokenbench.store.run import Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Reworked"]


class Reworked(Run):
    """A run that says what its samples are."""

    def rows(self) -> pd.DataFrame:
        """All samples, with the columns of `Run.samples`."""
        raise NotImplementedError

    def samples(
        self, columns: Sequence[str] | None = None, of: Collection[tuple[str, str]] | None = None
    ) -> pd.DataFrame:
        return selected(self.rows(), columns, of)

    def _numbers(self) -> pd.DataFrame:
        rows = self.rows()
        return rows.assign(kept=rows["kept"].map(len))
