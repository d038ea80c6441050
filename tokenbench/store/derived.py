"""Runs whose samples are derived from files: joined with those of another run, or judged again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from tokenbench.store.frames import count_kept, mark_agreement, select
from tokenbench.store.run import Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DerivedRun"]


class DerivedRun(Run):
    """A run whose subclass says what its samples are."""

    def all_samples(self) -> pd.DataFrame:
        """Return all samples, with the columns of `Run.samples`."""
        raise NotImplementedError

    def samples(
        self, columns: Sequence[str] | None = None, of: Collection[tuple[str, str]] | None = None
    ) -> pd.DataFrame:
        """Return the samples, as `Run.samples` does."""
        return select(self.all_samples(), columns, of)

    def _numbers(self) -> pd.DataFrame:
        samples = self.all_samples()
        return mark_agreement(samples.assign(kept=count_kept(samples["kept"]), answer=samples["answer"].str.strip()))
