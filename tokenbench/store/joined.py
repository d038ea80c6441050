"""Several runs as one: the cells of all on the samples that they share, so that they can be compared in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tokenbench.contract.cells import IDENTITY
from tokenbench.store.conditions import describe_shown
from tokenbench.store.derived import DerivedRun
from tokenbench.store.describe import frames_notes
from tokenbench.store.joined_manifest import describe_join, join_manifests
from tokenbench.store.joining import READ, Join, Source, join, letters
from tokenbench.store.resuming import unfinished
from tokenbench.store.run import Run

if TYPE_CHECKING:
    from collections.abc import Collection

    import pandas as pd

    from tokenbench.comparison import Comparison
    from tokenbench.comparison.looks import Looks

__all__ = ["JoinedRuns", "sources_of"]


def sources_of(runs: Sequence[Run], labels: Sequence[str]) -> list[Source]:
    """Read what is needed to join runs.

    Raises:
        UsageError: A run has no finished cell.
    """
    return [
        Source(mark, label, run.manifest, _whole(run, READ))
        for run, mark, label in zip(runs, letters(len(runs)), labels, strict=True)
    ]


class JoinedRuns(DerivedRun):
    """The cells of several runs on their common samples.

    A cell keeps its name if one run holds it, or if all that hold it answered alike, as trivial baselines do. Otherwise its name
    says which run it is from: `clse#A`, `clse#B`. Vanilla is the first run's; another one that answered differently is `vanilla#B`.
    """

    def __init__(self, *runs: Run, labels: Sequence[str] = ()) -> None:
        """Join runs.

        Args:
            runs: The runs.
            labels: What notes call each; by default, its folder.
        """
        first = runs[0]
        super().__init__(first.folder, first._registry, first._definitions, first._data)
        self._runs, self._labels = runs, labels or [str(run.folder) for run in runs]
        self.folders = [folder for run in runs for folder in run.folders]

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What run.json would say if the runs had been one."""
        return join_manifests(self._sources, self._join)

    def about(self) -> dict[str, Any]:
        """Return the joint manifest with the notes and failures of all runs, and a sentence on what was joined."""
        of_runs = [note for run in self._runs for note in run.about()["notes"]]
        manifests = [run.manifest for run in self._runs]
        if describe_shown(manifests, [source.mark for source in self._sources]):
            own = [note for manifest in manifests for note in frames_notes(manifest)]
            of_runs = [note for note in of_runs if note not in own]
        notes = list(dict.fromkeys([*self._notes, *of_runs]))
        # The runs may have been timed on different machines, and times are not marked with their run.
        said = {"notes": notes, "failures": self.failures(), "bench": [], "calibration": [], "matched": []}
        return {**self.manifest, **said}

    def failures(self) -> list[dict[str, Any]]:
        """Return the failures of all runs, but those of cells that another run holds."""
        held = {tuple(row) for run in self._runs for row in _cells_of(run.samples(["sample"]))}
        failures = [failure for run in self._runs for failure in run.failures()]
        failures = [failure for failure in failures if tuple(failure[name] for name in IDENTITY) not in held]
        return list({tuple(failure[name] for name in IDENTITY): failure for failure in failures}.values())

    def compare(
        self, margin: float | None = None, look: int | None = None, strategies: Collection[str] = ()
    ) -> Comparison:
        """Compare the cells of all runs, as `Run.compare` does.

        If several runs hold vanilla, the pairs have a column `at_noise_floor` (see `mark_noise_floor`).
        """
        from dataclasses import replace

        from tokenbench.comparison.noise import is_again, mark_noise_floor

        if strategies:  # the noise floor is measured with vanilla's other runs
            strategies = [*strategies, *filter(is_again, map(str, self.measured["strategy"].unique()))]
        comparison = super().compare(margin, look, strategies)
        if len({run.manifest["spec"].get("turns", 1) for run in self._runs}) > 1:
            comparison = replace(comparison, turns=None)  # they are those of one run
        return replace(comparison, pairs=mark_noise_floor(comparison.pairs)) if self._join.flips else comparison

    def origins(self) -> dict[tuple[str, str, str], int]:
        """Return the position of the run that each model, strategy and budget is taken from."""
        return {(key[0], name, key[2]): run for (run, key), name in self._join.cells.items()}

    def all_samples(self) -> pd.DataFrame:
        """Return the answers of all runs to the common samples.

        Raises:
            UsageError: A run has no finished cell, or nothing is left to compare.
        """
        return self._common_samples

    @cached_property
    def _sources(self) -> list[Source]:
        return sources_of(self._runs, self._labels)

    @cached_property
    def _join(self) -> Join:
        return join(self._sources)

    @cached_property
    def _notes(self) -> list[str]:
        joined, sources = self._join, self._sources
        names = ", ".join(f"{source.mark} is {source.label}" for source in sources)
        whole = len(set(joined.sizes) | {joined.count}) == 1
        sizes = ", ".join(
            f"{source.mark} {'' if at else 'has '}{size:,}"
            for at, (source, size) in enumerate(zip(sources, joined.sizes, strict=True))
        )
        held = (
            f" that {'both' if len(sources) == 2 else 'all'} hold"
            if set(joined.holders.values()) == {len(sources)}
            else ""
        )
        notes = [
            f"{names}. They are compared in pairs, on {joined.count:,} samples{held}"
            + ("" if whole else f" ({sizes})")
            + f". Accuracy kept is relative to {sources[0].mark}'s vanilla."
        ]
        notes += describe_join(sources, joined)
        if joined.once:
            who = "Both runs" if len(sources) == 2 else "Several runs"
            notes.append(f"{who} gave the same answers for {', '.join(joined.once)}: shown once.")
        return notes + joined.flips

    @cached_property
    def _seen(self) -> tuple[pd.DataFrame, Looks]:
        from tokenbench.store.looking import merge_looks

        return merge_looks(self.measured, [run._seen[1] for run in self._runs])

    def _record_look(self, samples: pd.DataFrame) -> None:
        for run in self._runs:
            run._record_look(run._seen[0])

    @cached_property
    def _common_samples(self) -> pd.DataFrame:
        import pandas as pd

        from tokenbench.store.looking import assign_looks

        joined = self._join
        parts = []
        for at, run in enumerate(self._runs):
            rows = assign_looks(_whole(run), run.manifest)[0]
            parts.append(take(rows, at, joined))
        return pd.concat(parts, ignore_index=True)


def take(rows: pd.DataFrame, at: int, joined: Join) -> pd.DataFrame:
    """Return the rows of a run that are taken, under the names that their strategies have among all runs.

    Args:
        rows: Answers of the run.
        at: The position of the run.
        joined: How the runs become one.
    """
    import pandas as pd

    names = {key: name for (run, key), name in joined.cells.items() if run == at}
    found = pd.Series([names.get(key) for key in _cells_of(rows, every=True)], index=rows.index, dtype=object)
    keys = pd.MultiIndex.from_tuples(
        [(*key, sample) for key, samples in joined.samples.items() for sample in samples],
        names=["model", "task", "sample"],
    )
    shared = pd.MultiIndex.from_frame(rows[["model", "task", "sample"]]).isin(keys)
    own = found.notna() & shared
    return rows[own].assign(strategy=found[own].astype(str))


def _cells_of(rows: pd.DataFrame, every: bool = False) -> list[tuple[Any, ...]]:
    """Return the names of the cells of rows: of every row, or once each."""
    own = rows[list(IDENTITY)] if every else rows[list(IDENTITY)].drop_duplicates()
    return list(own.itertuples(index=False, name=None))


def _whole(run: Run, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the answers of a run that can be compared."""
    samples = run._drop_failures(run.failures(), run.samples(columns))
    if not len(samples):
        raise unfinished(run)
    return samples
