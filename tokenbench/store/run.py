"""A finished or unfinished run, read back as data frames."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenbench.contract.cells import IDENTITY
from tokenbench.store.asked import tasks_of
from tokenbench.store.bench_file import read_bench
from tokenbench.store.calibrated import describe_calibrations, describe_work
from tokenbench.store.describe import describe_run, frames_notes, run_html
from tokenbench.store.directory import Store
from tokenbench.store.frames import COMPARED, NAMES, condense, drop_failures, frame, mark_agreement, select_samples
from tokenbench.store.imported import read_questions
from tokenbench.store.left_out import describe_left_out
from tokenbench.store.record_file import check_columns, keep_whole
from tokenbench.store.resuming import unfinished, warn_unfinished
from tokenbench.store.run_json import read_manifest
from tokenbench.store.spec import Spec
from tokenbench.store.trust import IMPORTED, check_definitions, replace_data
from tokenbench.store.units import by_unit, mean_scores

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pandas as pd

    from tokenbench.comparison import Comparison
    from tokenbench.comparison.looks import Looks
    from tokenbench.contract.suite import Sample, Task
    from tokenbench.registry.plugins import Registry

__all__ = ["Run"]


class Run:
    """A run directory. `Run.open(path).samples()` is its table of samples."""

    def __init__(
        self,
        folder: Path,
        registry: Registry | None = None,
        definitions: Sequence[str] = (),
        data: Sequence[str] = (),
        tasks: Sequence[Task] | None = None,
    ) -> None:
        self.folder, self.folders = folder, [folder]  # several if runs are joined
        self._store = Store.open(folder)
        self._registry, self._definitions, self._data = registry, tuple(definitions), tuple(data)
        self._tasks = tasks

    @classmethod
    def open(
        cls,
        folder: str | Path,
        registry: Registry | None = None,
        definitions: Sequence[str] = (),
        data: Sequence[str] = (),
        tasks: Sequence[Task] | None = None,
    ) -> Run:
        """Open a run directory.

        Args:
            folder: The run directory.
            registry: The plug-ins in which `questions` looks for the run's suite; by default, all that are installed.
            definitions: Folders of task definitions that you trust. They contain code, and a run can use no others.
            data: `TASK=FOLDER` texts. `questions` reads no data folder that only the run directory names, since the directory
                may come from others.
            tasks: The tasks of the run, if this process has just run them; by default, `questions` builds them again.

        Raises:
            UsageError: There is no run in this folder.
        """
        return cls(Path(folder), registry, definitions, data, tasks)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {describe_run(self)}>"

    def _repr_html_(self) -> str:
        return run_html(self)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The content of run.json: spec, cells, versions, hardware, notes."""
        return read_manifest(self.folder)

    def spec(self) -> Spec:
        """Return the settings of the run.

        Raises:
            UsageError: The run uses a folder of task definitions, which contains code, that `open` was not given.
        """
        spec = Spec.from_json(self.manifest["spec"])
        check_definitions(spec, self._definitions)
        return spec

    def seen_spec(self) -> Spec:
        """Return `spec` with the data folders that `open` was given in place of the run's own.

        Raises:
            UsageError: `spec` raises it, or the run reads a data folder that `open` was not given.
        """
        return replace_data(self.spec(), self._data)

    def samples(
        self, columns: Sequence[str] | None = None, of: Collection[tuple[str, str]] | None = None
    ) -> pd.DataFrame:
        """Return one row for every sample of every finished cell of the run.

        Args:
            columns: Columns to read besides those that name the cell; by default, all, which takes far more memory and time.
            of: The samples to return, as (task, sample) pairs; by default, all.

        Returns:
            A frame with the columns model, strategy, budget, seed, task, and

            * sample (`run.questions()[task, sample].question` is its text), cluster, unit, stratum, turn, answer, target, score (0 to 1)
            * kept: indices of the visual tokens that remain after the last layer; None if unknown, as all counts below are NaN then
            * visual_tokens (their number before pruning) and text_tokens
            * lattice: frames, height, width and leading tokens per frame of the first image; None if unknown
            * tokens_per_layer, and realised_tokens, which is their mean over the decoder layers
            * flops of encoding and prefill, and cache_bytes, the size of the KV cache after prefill
            * evidence_recall: the share of the visual tokens with the answer's evidence that is kept; NaN if unknown
            * evidence_height: how far down the image the evidence is, from 0 to 1; NaN if unknown
            * seconds: the sample's share of the time that its batch took to generate
        """
        import pandas as pd

        cells = self._finished_cells()
        wanted = check_columns(columns)
        if not cells:
            return pd.DataFrame(columns=list(IDENTITY))
        read = set(wanted) if of is None else {*wanted, "sample"}
        shrink = keep_whole if of is None else select_samples(cells, of)
        samples = frame(cells, self._store.columns([cell["id"] for cell in cells], read, shrink=shrink), wanted)
        if "lattice" in wanted and "lattice" not in samples:  # records of an older version
            samples["lattice"] = None
        return samples.astype(dict.fromkeys((name for name in IDENTITY if name != "seed"), str))

    @cached_property
    def measured(self) -> pd.DataFrame:
        """The samples that comparisons use: `whole` with the columns they need, names as categories, and `kept` as a count."""
        return self._drop_failures(self.failures(), self._numbers())

    def _numbers(self) -> pd.DataFrame:
        """Return `samples` in the form that `measured` has."""
        if not (cells := self._finished_cells()):
            return self.samples()
        tables = self._store.columns([cell["id"] for cell in cells], COMPARED, NAMES, condense)
        return mark_agreement(frame(cells, tables, COMPARED))

    def _finished_cells(self) -> list[dict[str, Any]]:
        finished = self._store.finished_cells()
        return [cell for cell in self.manifest["cells"] if cell["id"] in finished]

    def questions(self) -> dict[tuple[str, str], Sample]:
        """Build the questions of the run again, with their images, from its suite: (task, sample) -> Sample.

        Those of a run that was imported without its data have no images. A suite may have changed since the run. A caller that shows
        these samples should compare their targets with those of `samples`.

        Raises:
            UsageError: The suite is not installed, or reads definitions or data that `open` was not given.
        """
        from tokenbench.contract.suite import first

        if self.manifest["spec"]["suite"] == IMPORTED:
            return read_questions(self.folder)
        limits = [self.manifest["spec"].get(name) for name in ("limit", "held_out")]
        tasks = tasks_of(self)
        return {(task.name, sample.key): sample for task in tasks for sample in first(task, *limits)}

    def about(self) -> dict[str, Any]:
        """Return all that is known of the run except its scores: the manifest, notes, failures, and measured time and memory."""
        from tokenbench.store.looking import looks_notes

        looks = looks_notes(*self._seen, self.manifest, self._store.count)
        notes = [*frames_notes(self.manifest), *self.manifest.get("notes", []), *self.left_out(), *looks]
        said = {"notes": notes, "failures": self.failures(), "bench": self.bench()}
        return {**self.manifest, **said, "calibration": describe_calibrations(self), "matched": describe_work(self)}

    def bench(self) -> list[dict[str, Any]]:
        """Return what `tokenbench bench -o RUN` measured, a dict per model (see `docs/efficiency.md`); empty if it did not run.

        Raises:
            MachineError: The file cannot be read.
            UsageError: Another version of TokenBench wrote the file.
        """
        return read_bench(self.folder)

    def official(self) -> pd.DataFrame:
        """Return the metrics that the benchmarks themselves report, for every finished cell that has any.

        Returns:
            A frame with the columns model, strategy, budget, seed, task, metric, value (on its own scale) and samples.
        """
        import pandas as pd

        metrics = [
            {name: cell[name] for name in IDENTITY} | {"metric": metric, "value": value, "samples": summary["samples"]}
            for cell in self._finished_cells()
            for summary in (self._store.summary(cell["id"]),)
            for metric, value in summary.get("official", {}).items()
        ]
        return pd.DataFrame(metrics, columns=[*IDENTITY, "metric", "value", "samples"])

    def failures(self) -> list[dict[str, Any]]:
        """Return a dict per cell that cannot be finished: model, strategy, budget, seed, task, kind (failed or infeasible), reason."""
        failed = self._store.failed_cells()
        failures = (self._store.failure(cell["id"]) for cell in self.manifest["cells"] if cell["id"] in failed)
        return [failure for failure in failures if failure]

    def left_out(self) -> list[str]:
        """Return sentences on the samples that a model cannot be asked. They are left out for all strategies alike."""
        tasks = {name: task["samples"] for name, task in self.manifest["tasks"].items()}
        return describe_left_out(self._store.left_out.all(), tasks)

    def whole(self) -> pd.DataFrame:
        """Return `samples` without the tasks on which vanilla failed, and without strategies and budgets that failed on any other."""
        return self._drop_failures(self.failures(), self.samples())

    def _drop_failures(self, failures: Sequence[Mapping[str, Any]], samples: pd.DataFrame) -> pd.DataFrame:
        return drop_failures(samples, failures, self._store.left_out.all())

    def compare(
        self, margin: float | None = None, look: int | None = None, strategies: Collection[str] = ()
    ) -> Comparison:
        """Compare the run's cells, unit by unit: intervals, accuracy kept, paired verdicts.

        A strategy and budget that failed on any task is left out. To see verdicts is a look at the run. It is recorded in
        run.json, if that can be written, unless an earlier look saw the same samples; intervals and p values allow for all
        looks so far.

        Args:
            margin: Points of accuracy kept whose loss is of no importance, declared beforehand; by default, the run's own.
            look: The look, counted from 1, at which to see a run that stops when it is decided; by default, the last one.
            strategies: The strategies to compare with vanilla and with each other; by default, all.

        Raises:
            UsageError: Nothing is left to compare, or there is no such strategy.
        """
        from tokenbench.comparison import add_turns, compare

        samples, looks = self._seen if look is None else self._seen_at(look)
        units, scopes = self._by_unit(samples), self._seed_scopes
        margin = self.manifest["spec"].get("margin", 1.0) if margin is None else margin
        made = compare(units, margin=margin, looks=looks, scopes=scopes, strategies=strategies)
        self._record_look(samples)  # a mistake in an argument shows no verdict
        return warn_unfinished(add_turns(made, samples, self.manifest.get("reads_question", {}), scopes), self.folders)

    def units(self) -> pd.DataFrame:
        """Return `whole` with one row for every unit that the tasks' metrics count, and `kept` as a count. This is no look.

        Raises:
            UsageError: No cell is finished.
        """
        return self._by_unit(self.measured)

    def _by_unit(self, samples: pd.DataFrame) -> pd.DataFrame:
        if not len(samples):
            raise unfinished(self)
        rules = {task: about["unit_rule"] for task, about in self.manifest.get("tasks", {}).items()}
        return by_unit(samples, rules)

    @property
    def _seed_scopes(self) -> dict[str, str]:
        """For each strategy, what one draw of its seed may move."""
        return dict(self.manifest.get("seed_scopes", {}))

    def scores(self) -> pd.DataFrame:
        """Return mean scores without intervals or verdicts. This is no look.

        Returns:
            A frame with the columns model, strategy, budget, task, samples (their number) and score (0 to 1).
        """
        return mean_scores(self._by_unit(self._numbers()))

    @cached_property
    def _seen(self) -> tuple[pd.DataFrame, Looks]:
        """The samples that can be compared, with the column of the looks that saw them; and these looks, this one included."""
        from tokenbench.store.looking import assign_looks

        return assign_looks(self.measured, self.manifest)

    def _seen_at(self, look: int) -> tuple[pd.DataFrame, Looks]:
        """Return `_seen` as it was at an earlier look: what failed later had not failed then."""
        from tokenbench.comparison.looks import rows_until
        from tokenbench.store.looking import assign_looks

        sizes = self.manifest["plan"]["samples"]
        failures = [f for f in self.failures() if f.get("samples", 1) <= sizes[f["task"]][look - 1]]
        samples, looks = assign_looks(self._drop_failures(failures, self._numbers()), self.manifest)
        return rows_until(samples, look), looks.until(look)

    def _record_look(self, samples: pd.DataFrame) -> None:
        from tokenbench.store.looking import record_look

        record_look(self.folder, self.manifest, samples)
