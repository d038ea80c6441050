"""A finished or unfinished run, read back as data frames."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenbench.errors import UsageError
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
        realised_tokens (their mean over decoder layers), text_tokens, flops (of encoding and prefill), cache_bytes (of the KV
        cache after prefill), evidence_recall (share of the answer's visual tokens that are
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

    def failures(self) -> list[dict[str, Any]]:
        """The cells that cannot be finished: model, strategy, budget, seed, task, kind (failed or infeasible) and reason."""
        found = (self._store.failure(cell["id"]) for cell in self.manifest["cells"])
        return [failure for failure in found if failure]

    def compare(self) -> Comparison:
        """The run's cells compared: intervals, retention, paired verdicts. What failed on any task is left out.

        Raises UsageError if nothing is left to compare.
        """
        from tokenbench.comparison import compare

        samples = self.samples()
        arm = ["model", "strategy", "budget"]
        for lost in {tuple(failure[name] for name in arm) for failure in self.failures()}:
            samples = samples[(samples[arm] != lost).any(axis=1)]
        if not len(samples):
            raise UsageError(f"{self.folder} has no finished cell yet", "run it first; the same command goes on")
        return compare(samples.assign(kept=samples["kept"].map(len)))
