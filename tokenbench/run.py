"""A finished or unfinished run, read back as data frames."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenbench.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from tokenbench.comparison import Comparison

__all__ = ["Run"]

IDENTITY = ("model", "strategy", "budget", "seed", "task")


class Run:
    """A run directory. `Run.open(path).samples()` is its table of samples."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._store = Store.open(folder)

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Open a run directory. Raises UsageError if there is none."""
        return cls(Path(folder))

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The content of run.json: spec, cells, versions, hardware, notes."""
        return self._store.manifest()

    def samples(self) -> pd.DataFrame:
        """One row for every sample of every finished cell of the run.

        Columns: model, strategy, budget, seed, task, sample, cluster, answer, target, score (0 to 1), kept (ordinals of
        the visual tokens there to the end), visual_tokens (how many the sample began with), tokens_per_layer,
        realised_tokens (their mean over decoder layers), evidence_recall (share of the answer's visual tokens that are
        kept; NaN if unknown), seconds (the sample's share of its batch's generation).
        """
        import pandas as pd

        frames = []
        for cell in self.manifest["cells"]:
            if self._store.is_done(cell["id"]):
                frame = self._store.records(cell["id"]).to_pandas()
                for position, column in enumerate(IDENTITY):
                    frame.insert(position, column, cell[column])
                frames.append(frame)
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(IDENTITY))

    def compare(self) -> Comparison:
        """The run's cells compared: intervals, retention, paired verdicts."""
        from tokenbench.comparison import compare

        samples = self.samples()
        return compare(samples.assign(kept=samples["kept"].map(len)))
