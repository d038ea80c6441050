"""A finished or unfinished run, read back as data frames."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenbench.contract.cells import CELL, IDENTITY, VANILLA
from tokenbench.errors import UsageError, unfinished
from tokenbench.store import files
from tokenbench.store.directory import Store
from tokenbench.store.foreign import conforming, read_json
from tokenbench.store.frames import COMPARED, NAMES, chosen, counted, frame
from tokenbench.store.left_out import sentences
from tokenbench.store.manifest import Versioned
from tokenbench.store.record_file import RECORD
from tokenbench.store.shown import describe_run, run_html
from tokenbench.store.spec import Spec
from tokenbench.store.units import by_unit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import pandas as pd

    from tokenbench.comparison import Comparison
    from tokenbench.comparison.looks import Looks
    from tokenbench.contract.suite import Sample, Task
    from tokenbench.registry.plugins import Registry

__all__ = ["Run", "unnamed"]


class Run:
    """A run directory. `Run.open(path).samples()` is its table of samples."""

    def __init__(
        self,
        folder: Path,
        known: Registry | None = None,
        definitions: Sequence[str] = (),
        data: Sequence[str] = (),
        tasks: Sequence[Task] | None = None,
    ) -> None:
        self.folder = folder
        self._store = Store.open(folder)
        self._known, self._definitions, self._data = known, tuple(definitions), tuple(data)
        self._tasks = tasks

    @classmethod
    def open(
        cls,
        folder: str | Path,
        known: Registry | None = None,
        definitions: Sequence[str] = (),
        data: Sequence[str] = (),
        tasks: Sequence[Task] | None = None,
    ) -> Run:
        """Open a run directory. Raises UsageError if there is none.

        known: where `questions` finds the run's suite; everything installed unless said otherwise. definitions: folders with
        task definitions, which hold code: those that the run names are used only if they are among these. data: `TASK=FOLDER`;
        `questions` reads no folder that only the run names, for it may come from others. tasks: those of the run, of a process that
        has just run them; `questions` makes them anew unless given.
        """
        return cls(Path(folder), known, definitions, data, tasks)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {describe_run(self)}>"

    def _repr_html_(self) -> str:
        return run_html(self)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The content of run.json: spec, cells, versions, hardware, notes."""
        return self._store.manifest()

    def spec(self) -> Spec:
        """What was asked for. Raises UsageError for definitions of tasks, which hold code, that `open` was not told of."""
        spec = Spec.from_json(self.manifest["spec"])
        if strange := set(spec.definitions) - set(self._definitions):
            raise UsageError(
                f"the run's task definitions in {', '.join(sorted(strange))} contain code, which is loaded only from folders that you trust",
                "if you trust this one, name it with --tasks-dir",
            )
        return spec

    def seen_spec(self) -> Spec:
        """`spec` for commands that only look: with the data folders that `open` was told of in the place of the run's own.

        Raises UsageError if it was not told of all of them.
        """
        from tokenbench.registry.suites import data_folders

        spec, named = self.spec(), data_folders(self._data)
        strange = [text for text in spec.data if text.partition("=")[0] not in named]
        if strange:
            raise UsageError(
                f"only the run directory, which may come from others, names the data folders {', '.join(strange)}",
                f"name them again to have them read: {' '.join(f'--data {text}' for text in strange)}",
            )
        wanted = {text.partition("=")[0] for text in spec.data}
        return replace(spec, data=tuple(f"{task}={folder}" for task, folder in named.items() if task in wanted))

    def check_models(self, models: Sequence[str], known: Registry) -> None:
        """Raise UsageError unless every model of the run is a registered one, or among these."""
        if strange := unnamed(self.spec().models, models, known):
            raise UsageError(
                f"only the run directory, which may come from others, names the models {', '.join(strange)}",
                f"name them again to have them read: {' '.join(f'--models {name}' for name in strange)}",
            )

    def check_plugins(self, files: Sequence[str | Path] | None = None) -> dict[str, Path]:
        """The single-file plug-ins it was run with, by the names of their modules.

        files: those that the user names now, since they hold code; those that `open` was told of unless given. Raises UsageError
        if one is lacking.
        """
        from tokenbench.registry.plugins import file_module

        given = files if files is not None else self._known.files if self._known else ()
        named = {Path(file).name: Path(file) for file in given}
        if lacking := [file for file in self.manifest["plugin_files"] if Path(file).name not in named]:
            raise UsageError(
                f"{self.folder} was run with plug-in files, which must be named again",
                " ".join(f"--plugin {file}" for file in lacking),
            )
        return {file_module(file): file for file in named.values()}

    def samples(
        self, columns: Sequence[str] | None = None, of: Collection[tuple[str, str]] | None = None
    ) -> pd.DataFrame:
        """One row for every sample of every finished cell of the run.

        columns: those to read besides the cell's names, of the following; a few take a fraction of the memory and time of all. of:
        only these samples, as (task, sample).

        Columns: model, strategy, budget, seed, task, sample, cluster, unit, stratum, answer, target, score (0 to 1), kept (ordinals of
        the visual tokens there to the end), visual_tokens (how many the sample began with), lattice (frames, height, width and
        leading tokens a frame of those of the first image; None if unknown), tokens_per_layer,
        realised_tokens (their mean over decoder layers), text_tokens, flops (of encoding and prefill), cache_bytes (of the KV
        cache after prefill), evidence_recall (share of the answer's visual tokens that are
        kept; NaN if unknown), seconds (the sample's share of its batch's generation).
        """
        import pandas as pd

        cells = self._finished()
        wanted = tuple(name for name in RECORD.names if name != "asked") if columns is None else tuple(columns)
        if not cells:
            return pd.DataFrame(columns=list(IDENTITY))
        tables = self._store.columns(
            [cell["id"] for cell in cells], {*wanted, *(("sample",) if of is not None else ())}
        )
        if of is not None:
            tables = map(partial(chosen, of=of), cells, tables)
        found = frame(cells, tables, wanted)
        if "lattice" in wanted and "lattice" not in found:  # records of an older version
            found["lattice"] = None
        return found.astype(dict.fromkeys((name for name in IDENTITY if name != "seed"), str))

    @cached_property
    def measured(self) -> pd.DataFrame:
        """What comparisons are made of: `whole` with the columns that they need, names as categories, and `kept` as a number."""
        return self._without(self.failures(), self._numbers())

    def _numbers(self) -> pd.DataFrame:
        """`samples` as `measured` has them."""
        cells = self._finished()
        if not cells:
            return self.samples()
        tables = self._store.columns([cell["id"] for cell in cells], COMPARED, packed=NAMES)
        return frame(cells, map(counted, tables), COMPARED)

    def _finished(self) -> list[dict[str, Any]]:
        finished = self._store.finished()
        return [cell for cell in self.manifest["cells"] if cell["id"] in finished]

    def questions(self) -> dict[tuple[str, str], Sample]:
        """The questions asked, with their images, made anew by the run's suite: (task, sample) -> Sample.

        Raises UsageError if the suite is not installed, or has definitions or data that `open` was not told of. A suite may have
        changed since; who shows its samples compares their targets with those of `samples`.
        """
        from tokenbench.contract.suite import first
        from tokenbench.registry.plugins import registry
        from tokenbench.registry.suites import resolve_suite

        if self._tasks is not None:
            limit = self.manifest["spec"]["limit"]
            return {(task.name, sample.key): sample for task in self._tasks for sample in first(task, limit)}
        spec = self.seen_spec()
        _, tasks = resolve_suite(spec.suite, spec.tasks, self._known or registry(), spec.data, spec.definitions)
        return {(task.name, sample.key): sample for task in tasks for sample in first(task, spec.limit)}

    def about(self) -> dict[str, Any]:
        """The manifest with the failures, and time and memory where measured: all that is known of the run but its scores."""
        notes = [*self.manifest.get("notes", []), *self.left_out(), *self._looks_said()]
        return {**self.manifest, "notes": notes, "failures": self.failures(), "bench": self.bench()}

    def bench(self) -> list[dict[str, Any]]:
        """What `tokenbench bench -o RUN` measured, a dict a model (see `docs/efficiency.md`); empty if it did not run.

        Raises MachineError for a file that cannot be read, UsageError for one of another version.
        """
        from tokenbench.store.bench_file import FILE, SCHEMA_VERSION, Measurement

        path, hint = self.folder / FILE, "measure again, or remove it"
        if not files.is_file(path, self.folder):
            return []
        content = read_json(path, self.folder, Versioned, hint)
        if content["schema_version"] != SCHEMA_VERSION:
            raise UsageError(
                f"{path} was written by another version of TokenBench (schema {content['schema_version']})", hint
            )
        models: list[dict[str, Any]] = conforming(content, path, Measurement, hint)["models"]
        return models

    def official(self) -> pd.DataFrame:
        """The numbers that the benchmarks themselves report, of every finished cell that has any.

        Columns: model, strategy, budget, seed, task, metric, value (on the benchmark's own scale), samples (how many).
        """
        import pandas as pd

        rows = [
            {name: cell[name] for name in IDENTITY} | {"metric": metric, "value": value, "samples": summary["samples"]}
            for cell in self._finished()
            for summary in (self._store.summary(cell["id"]),)
            for metric, value in summary.get("official", {}).items()
        ]
        return pd.DataFrame(rows, columns=[*IDENTITY, "metric", "value", "samples"])

    def failures(self) -> list[dict[str, Any]]:
        """The cells that cannot be finished: model, strategy, budget, seed, task, kind (failed or infeasible) and reason."""
        failed = self._store.failed()
        found = (self._store.failure(cell["id"]) for cell in self.manifest["cells"] if cell["id"] in failed)
        return [failure for failure in found if failure]

    def left_out(self) -> list[str]:
        """Sentences on the samples that a model cannot be asked, which are left out for all strategies alike."""
        tasks = {name: task["samples"] for name, task in self.manifest["tasks"].items()}
        return sentences(self._store.left_out.all(), tasks)

    def whole(self) -> pd.DataFrame:
        """`samples` without the tasks that vanilla failed on, and without the strategies and budgets that failed on any other."""
        return self._without(self.failures(), self.samples())

    def _without(self, failures: Sequence[Mapping[str, Any]], samples: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd

        if not len(samples):
            return samples
        task, arm = ["model", "task"], list(CELL)
        gone = {tuple(f[name] for name in task) for f in failures if f["strategy"] == VANILLA}
        lost = {tuple(f[name] for name in arm) for f in failures if tuple(f[name] for name in task) not in gone}
        for columns, names in ((task, gone), (arm, lost)):
            if names:
                samples = samples[~pd.MultiIndex.from_frame(samples[columns]).isin(names)]
        if unfit := [(one.model, one.task, one.sample) for one in self._store.left_out.all()]:
            samples = samples[~pd.MultiIndex.from_frame(samples[["model", "task", "sample"]]).isin(unfit)]
        return samples

    def compare(self, margin: float | None = None, look: int | None = None) -> Comparison:
        """The run's cells compared, unit by unit: intervals, retention, paired verdicts. What failed on any task is left out.

        To see verdicts is a look at the run. It is remembered in run.json, if that can be written, unless an earlier look saw the
        same samples; intervals and p values allow for all looks so far.

        margin: loss in points of retention, declared beforehand, that is of no importance; the run's own unless given.
        look: as it was at that look of a run that stops when it is decided, counted from 1.

        Raises UsageError if nothing is left to compare.
        """
        from tokenbench.comparison import compare

        samples, looks = self._looked if look is None else self._looked_then(look)
        units = self._by_unit(samples)
        self._remember(samples)
        margin = self.manifest["spec"].get("margin", 1.0) if margin is None else margin
        return compare(units, margin=margin, looks=looks, scopes=self._seed_scopes)

    def units(self) -> pd.DataFrame:
        """`whole`, one row for every unit that the tasks' metrics count, `kept` as a number; no look. Raises UsageError if it is empty."""
        return self._by_unit(self.measured)

    def _by_unit(self, samples: pd.DataFrame) -> pd.DataFrame:
        if not len(samples):
            raise unfinished(self.folder)
        rules = {task: about["unit_rule"] for task, about in self.manifest.get("tasks", {}).items()}
        return by_unit(samples, rules)

    @property
    def _seed_scopes(self) -> dict[str, str]:
        """By strategy, what one draw of its seed may move."""
        return dict(self.manifest.get("seed_scopes", {}))

    def scores(self) -> pd.DataFrame:
        """Mean scores without intervals or verdicts: a glance at the run that is no look.

        Columns: model, strategy, budget, task, samples (how many), score (0 to 1).
        """
        units = self._by_unit(self._numbers())
        cell = [*CELL, "task"]
        means = (
            units.groupby([*cell, units["stratum"].astype(object).fillna("")], sort=False, observed=True)["score"]
            .mean()
            .groupby(cell, sort=False, observed=True)
            .mean()
        )
        count = units.groupby(cell, sort=False, observed=True)["sample"].nunique()
        found = count.rename("samples").to_frame().join(means).reset_index()
        return found.astype({name: str for name in cell})

    @cached_property
    def _looked(self) -> tuple[pd.DataFrame, Looks]:
        """The samples that can be compared, with the column of the looks that saw them; and these looks, this one included."""
        from tokenbench.store.looking import looked

        return looked(self.measured, self.manifest)

    def _looked_then(self, look: int) -> tuple[pd.DataFrame, Looks]:
        """The same at an earlier look: what failed later had not failed then."""
        from tokenbench.comparison.looks import rows_until
        from tokenbench.store.looking import looked

        sizes = self.manifest["plan"]["samples"]
        failures = [f for f in self.failures() if f.get("samples", 1) <= sizes[f["task"]][look - 1]]
        samples, looks = looked(self._without(failures, self._numbers()), self.manifest)
        return rows_until(samples, look), looks.until(look)

    def _remember(self, samples: pd.DataFrame) -> None:
        """That verdicts on these samples are shown now."""
        from tokenbench.store.looking import is_known, new_look

        found = new_look(samples)
        if is_known([own["samples"] for own in self.manifest.get("looks", [])], found["samples"]):
            return
        with suppress(OSError):  # somebody else's folder: who looks there does not change what its owner may say
            self._store.look(lambda looks: is_known([own["samples"] for own in looks], found["samples"]), found)

    def _looks_said(self) -> list[str]:
        """What a reader has to know of the looks."""
        from tokenbench.store.looking import sentence

        samples, looks = self._looked
        if not len(samples):
            return []
        cells, tasks = self.manifest["cells"], self.manifest["tasks"]
        saving = (
            looks.planned is not None and looks.planned > 1
        )  # else nothing is said of numbers, which opens every file
        answers = sum(self._store.count(cell["id"]) for cell in cells) if saving else 0
        planned = sum(tasks[cell["task"]]["samples"] for cell in cells)
        said = sentence(looks, answers, planned)
        return [said] if said else []


def unnamed(models: Iterable[str], named: Iterable[str], known: Registry) -> list[str]:
    """The models of a run that nobody else names: neither a plug-in nor the user. Nothing is looked up on the disk."""
    registered, places = known.names("backbones"), {os.path.abspath(name) for name in named}
    return [name for name in models if name not in registered and os.path.abspath(name) not in places]
