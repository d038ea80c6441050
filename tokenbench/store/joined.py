"""Two runs as one: the cells of both on the samples they share, so that they can be compared in pairs."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from tokenbench.contract.cells import CELL, VANILLA
from tokenbench.errors import UsageError
from tokenbench.store.reworked import Reworked
from tokenbench.store.run import Run

if TYPE_CHECKING:
    import pandas as pd

    from tokenbench.comparison import Comparison
    from tokenbench.comparison.looks import Looks

__all__ = ["JoinedRuns"]

SAMPLE = ["model", "task", "sample"]
ARM = [*CELL, "seed"]
ASKED = ["cluster", "target"]


class JoinedRuns(Reworked):
    """The cells of two runs on their common samples.

    Strategies are named ``A:clse`` and ``B:clse``; what both runs answered alike, floors for instance, is one cell with its plain
    name. Vanilla is A's; where B's answered differently it is ``B:vanilla``.
    """

    def __init__(self, a: Run, b: Run) -> None:
        super().__init__(a.folder, a._known, a._definitions, a._data)
        self._a, self._b = a, b

    def about(self) -> dict[str, Any]:
        """A's manifest with the notes and failures of both, and a sentence on what was joined."""
        a, b = self._a.about(), self._b.about()
        self._joined  # noqa: B018  # the notes below come out of it
        notes = list(dict.fromkeys([*self._notes, *a.get("notes", []), *b.get("notes", [])]))
        spec = {**a["spec"], "limit": min(filter(None, (a["spec"]["limit"], b["spec"]["limit"])), default=None)}
        # Times of two runs may be of two machines, and carry no mark of their run.
        return {**a, "spec": spec, "notes": notes, "failures": self.failures(), "bench": []}

    def failures(self) -> list[dict[str, Any]]:
        """Those of both, under the names they have here."""
        marked = (("A", self._a), ("B", self._b))
        return [{**f, "strategy": f"{mark}:{f['strategy']}"} for mark, run in marked for f in run.failures()]

    def compare(self, margin: float | None = None, look: int | None = None) -> Comparison:
        """As of one run; where both hold vanilla, the pairs have a column ``at_noise_floor`` (see ``mark_noise_floor``)."""
        from dataclasses import replace

        from tokenbench.comparison.noise import mark_noise_floor

        found = super().compare(margin, look)
        return replace(found, pairs=mark_noise_floor(found.pairs)) if self._flips else found

    def rows(self) -> pd.DataFrame:
        """The rows of both on the common samples. Raises UsageError if there are none."""
        return self._joined

    @cached_property
    def _looked(self) -> tuple[pd.DataFrame, Looks]:
        from tokenbench.store.looking import rejoined

        return rejoined(self.measured, [run._looked[1] for run in (self._a, self._b)])

    @property
    def _seed_scopes(self) -> dict[str, str]:
        both = (("", self._a), ("A:", self._a), ("B:", self._b))
        return {mark + name: scope for mark, run in both for name, scope in run._seed_scopes.items()}

    def _remember(self, samples: pd.DataFrame) -> None:
        for run in (self._a, self._b):
            run._remember(run._looked[0])

    @cached_property
    def _joined(self) -> pd.DataFrame:
        import pandas as pd

        from tokenbench.store.looking import looked

        a, b = (looked(run.whole(), run.manifest)[0] for run in (self._a, self._b))
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
        same = _answered_alike(a, b)
        self._notes = [
            f"A is {self._a.folder}, B is {self._b.folder}. They are compared in pairs, on {len(keys):,} samples that both hold"
            + (f" (A has {len(asked[0]):,}, B {len(asked[1]):,})" if len(asked[0]) != len(keys) or len(asked[1]) != len(keys) else "")
            + ". Retention is relative to A's vanilla."
        ]  # fmt: skip
        if not same.empty:
            names = ", ".join(dict.fromkeys(same["strategy"]))
            self._notes.append(f"Both runs gave the same answers for {names}: shown once.")
        self._flips = _flips(a, b)
        self._notes += self._flips
        return pd.concat([_named(a, "A", same), _without(_named(b, "B", same), same)], ignore_index=True)


def _answered_alike(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """The cells of all tasks and samples that are the same in both, answer by answer."""
    both = a.merge(b, on=[*ARM, "task", "sample"], how="outer", suffixes=("", "_b"))
    alike = (both["answer"] == both["answer_b"]) & (both["score"] == both["score_b"])
    found = alike.groupby([both[name] for name in ARM]).all()
    return found[found].index.to_frame(index=False)


def _flips(a: pd.DataFrame, b: pd.DataFrame) -> list[str]:
    """A sentence a model on how often vanilla's scores differ between the runs; none unless both hold it."""
    first, second = (rows[rows["strategy"] == VANILLA] for rows in (a, b))
    both = first.merge(second, on=[*ARM, "task", "sample"], suffixes=("", "_b"))
    found = []
    for model, rows in both.groupby("model"):
        higher, lower = int((rows["score"] > rows["score_b"]).sum()), int((rows["score"] < rows["score_b"]).sum())
        found.append(
            f"A/A check, {model}: vanilla's scores differ between A and B on {higher + lower:,} of {len(rows):,} samples "
            f"({100 * (higher + lower) / len(rows):.1f} %; higher in A : in B = {higher}:{lower}). Pairs that differ on no more "
            "are at the noise floor."
        )
    return found


def _named(rows: pd.DataFrame, mark: str, same: pd.DataFrame) -> pd.DataFrame:
    plain = _member(rows, same)
    if mark == "A":  # the reference keeps its name
        plain |= rows["strategy"] == VANILLA
    return rows.assign(strategy=rows["strategy"].where(plain, mark + ":" + rows["strategy"].astype(str)))


def _without(rows: pd.DataFrame, same: pd.DataFrame) -> pd.DataFrame:
    return rows[~_member(rows, same)]


def _member(rows: pd.DataFrame, cells: pd.DataFrame) -> pd.Series[bool]:
    import pandas as pd

    return pd.Series(pd.MultiIndex.from_frame(rows[ARM]).isin(pd.MultiIndex.from_frame(cells[ARM])), index=rows.index)
