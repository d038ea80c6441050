"""Two runs as one: the cells of both on the samples that they share, so that they can be compared in pairs."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from tokenbench.contract.cells import CELL, VANILLA
from tokenbench.errors import UsageError
from tokenbench.store.derived import DerivedRun
from tokenbench.store.describe import describe_frames, frames_notes
from tokenbench.store.resuming import unfinished
from tokenbench.store.run import Run

if TYPE_CHECKING:
    from collections.abc import Collection

    import pandas as pd

    from tokenbench.comparison import Comparison
    from tokenbench.comparison.looks import Looks

__all__ = ["JoinedRuns"]

SAMPLE = ["model", "task", "sample"]
ARM = [*CELL, "seed"]
ASKED = ["cluster", "target"]


class JoinedRuns(DerivedRun):
    """The cells of two runs on their common samples.

    Strategies are named `A:clse` and `B:clse`. A cell that both runs answered alike, such as a trivial baseline, appears once with
    its plain name. Vanilla is A's; if B's vanilla answered differently, it is `B:vanilla`.
    """

    def __init__(self, a: Run, b: Run) -> None:
        super().__init__(a.folder, a._registry, a._definitions, a._data)
        self._a, self._b = a, b
        self.folders = [*a.folders, *b.folders]

    def about(self) -> dict[str, Any]:
        """Return A's manifest with the notes and failures of both runs, and a sentence on what was joined."""
        a, b = self._a.about(), self._b.about()
        self._common_samples  # noqa: B018  # the notes below are made with it
        notes = list(dict.fromkeys([*self._notes, *a.get("notes", []), *b.get("notes", [])]))
        shown = [describe_frames(run.manifest) for run in (self._a, self._b)]
        if shown[0] != shown[1]:
            said = "A and B show different frames of the same clips: {} in A, {} in B."
            notes = [note for note in notes if note not in frames_notes(a) + frames_notes(b)]
            notes.insert(1, said.format(*(text or "no choice of frames" for text in shown)))
        spec = {**a["spec"], "limit": min(filter(None, (a["spec"]["limit"], b["spec"]["limit"])), default=None)}
        # The two runs may have been timed on different machines, and times are not marked with their run.
        return {
            **a,
            "spec": spec,
            "notes": notes,
            "failures": self.failures(),
            "bench": [],
            "calibration": [],
            "matched": [],
        }

    def failures(self) -> list[dict[str, Any]]:
        """Return the failures of both runs, under the names that their strategies have here."""
        marked = (("A", self._a), ("B", self._b))
        return [{**f, "strategy": f"{mark}:{f['strategy']}"} for mark, run in marked for f in run.failures()]

    def compare(
        self, margin: float | None = None, look: int | None = None, strategies: Collection[str] = ()
    ) -> Comparison:
        """Compare the cells of both runs, as `Run.compare` does.

        If both runs hold vanilla, the pairs have a column `at_noise_floor` (see `mark_noise_floor`).
        """
        from dataclasses import replace

        from tokenbench.comparison.noise import AGAIN, mark_noise_floor

        if strategies and AGAIN in set(self.measured["strategy"]):  # what the noise floor is measured with
            strategies = [*strategies, AGAIN]
        comparison = replace(super().compare(margin, look, strategies), turns=None)  # they are those of one run
        return replace(comparison, pairs=mark_noise_floor(comparison.pairs)) if self._flips else comparison

    def all_samples(self) -> pd.DataFrame:
        """Return the answers of both runs to the common samples.

        Raises:
            UsageError: A run has no finished cell, the runs share no samples, or the suite changed between them.
        """
        return self._common_samples

    @cached_property
    def _seen(self) -> tuple[pd.DataFrame, Looks]:
        from tokenbench.store.looking import merge_looks

        return merge_looks(self.measured, [run._seen[1] for run in (self._a, self._b)])

    @property
    def _seed_scopes(self) -> dict[str, str]:
        both = (("", self._a), ("A:", self._a), ("B:", self._b))
        return {mark + name: scope for mark, run in both for name, scope in run._seed_scopes.items()}

    def _record_look(self, samples: pd.DataFrame) -> None:
        for run in (self._a, self._b):
            run._record_look(run._seen[0])

    @cached_property
    def _common_samples(self) -> pd.DataFrame:
        import pandas as pd

        from tokenbench.store.looking import assign_looks

        a, b = (assign_looks(_whole(run), run.manifest)[0] for run in (self._a, self._b))
        asked = [rows[[*SAMPLE, *ASKED]].drop_duplicates(SAMPLE) for rows in (a, b)]
        common = asked[0].merge(asked[1], on=SAMPLE, suffixes=("", "_b"))
        if common.empty:
            raise UsageError(
                f"{self._a.folder} and {self._b.folder} share no samples of any model, so that nothing can be compared",
                "run the same models, suite and tasks in both",
            )
        if (common["target"] != common["target_b"]).any() or (common["cluster"] != common["cluster_b"]).any():
            raise UsageError(
                "samples of the two runs have the same names but different content: the suite changed between them",
                "run one of them again",
            )
        keys = common[SAMPLE]
        a, b = a.merge(keys, on=SAMPLE), b.merge(keys, on=SAMPLE)
        same = _equal_cells(a, b)
        self._notes = [
            f"A is {self._a.folder}, B is {self._b.folder}. They are compared in pairs, on {len(keys):,} samples that both hold"
            + (f" (A has {len(asked[0]):,}, B {len(asked[1]):,})" if len(asked[0]) != len(keys) or len(asked[1]) != len(keys) else "")
            + ". Accuracy kept is relative to A's vanilla."
        ]  # fmt: skip
        if not same.empty:
            names = ", ".join(dict.fromkeys(same["strategy"]))
            self._notes.append(f"Both runs gave the same answers for {names}: shown once.")
        self._flips = _describe_flips(a, b)
        self._notes += self._flips
        marked_b = _mark_strategies(b, "B", same)
        return pd.concat([_mark_strategies(a, "A", same), marked_b[~_is_in(marked_b, same)]], ignore_index=True)


def _whole(run: Run) -> pd.DataFrame:
    if not len(samples := run.whole()):
        raise unfinished(run)
    return samples


def _equal_cells(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Return the arms whose answers and scores are equal in both runs on all tasks and samples."""
    both = a.merge(b, on=[*ARM, "task", "sample"], how="outer", suffixes=("", "_b"))
    equal = (both["answer"] == both["answer_b"]) & (both["score"] == both["score_b"])
    arms = equal.groupby([both[name] for name in ARM]).all()
    return arms[arms].index.to_frame(index=False)


def _describe_flips(a: pd.DataFrame, b: pd.DataFrame) -> list[str]:
    """Return a sentence per model on how often vanilla's scores differ between the runs; none unless both hold vanilla."""
    first, second = (rows[rows["strategy"] == VANILLA] for rows in (a, b))
    both = first.merge(second, on=[*ARM, "task", "sample"], suffixes=("", "_b"))
    sentences = []
    for model, rows in both.groupby("model"):
        higher, lower = int((rows["score"] > rows["score_b"]).sum()), int((rows["score"] < rows["score_b"]).sum())
        sentences.append(
            f"A/A check, {model}: vanilla's scores differ between A and B on {higher + lower:,} of {len(rows):,} samples "
            f"({100 * (higher + lower) / len(rows):.1f} %; higher in A : in B = {higher}:{lower}). Pairs that differ on no more "
            "are at the noise floor."
        )
    return sentences


def _mark_strategies(rows: pd.DataFrame, mark: str, same: pd.DataFrame) -> pd.DataFrame:
    """Put the mark of the run before the strategies' names, except in cells that are the same in both runs."""
    plain = _is_in(rows, same)
    if mark == "A":  # the reference keeps its name
        plain |= rows["strategy"] == VANILLA
    return rows.assign(strategy=rows["strategy"].where(plain, mark + ":" + rows["strategy"].astype(str)))


def _is_in(rows: pd.DataFrame, cells: pd.DataFrame) -> pd.Series[bool]:
    import pandas as pd

    return pd.Series(pd.MultiIndex.from_frame(rows[ARM]).isin(pd.MultiIndex.from_frame(cells[ARM])), index=rows.index)
