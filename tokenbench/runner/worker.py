"""Answers batches, and writes the records to the journals of a run directory. Any number of workers may do so at the same time."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenbench.contract.suite import Sample
from tokenbench.engine import Pruner
from tokenbench.errors import InfeasibleError, MachineError, SampleError, StrategyError, brief, printable
from tokenbench.models.batch import Loaded
from tokenbench.registry.plugins import Registry
from tokenbench.runner.asking import ask_batch
from tokenbench.runner.batches import Question, QuestionBatch
from tokenbench.runner.evidence import lattice_of_first
from tokenbench.runner.identity import Cell
from tokenbench.runner.passes import Outcome
from tokenbench.runner.progress import Progress
from tokenbench.runner.records import cost_record, score_record
from tokenbench.runner.resolve import resolve_spec
from tokenbench.runner.showing import is_passing, load_ahead
from tokenbench.runner.work import Work, fingerprints, left_of, works_of
from tokenbench.store.calibrated import read_calibrations
from tokenbench.store.directory import Store
from tokenbench.store.left_out import LeftOut
from tokenbench.store.run_json import read_manifest
from tokenbench.store.spec import Spec

__all__ = ["WorkUnit", "Worker"]


@dataclass(frozen=True)
class WorkUnit:
    """A range of one model's batches. It is the most that a lost worker costs."""

    model: str
    """The name of the model."""
    start: int
    """The number of the first batch."""
    stop: int
    """The number after that of the last batch."""


class Worker:
    """Does units of one run, with one model in memory at a time.

    Args:
        store: The run directory.
        works: The work of each model.
    """

    def __init__(self, store: Store, works: dict[str, Work]) -> None:
        self._store, self._works = store, works
        self._left = {name: left_of(work, store) for name, work in works.items()}
        self._loaded = ""

    @classmethod
    def of_run(cls, folder: str, plugin_files: Sequence[str], device: str) -> Worker:
        """Make a worker for a run that another process has started.

        Args:
            folder: The run directory.
            plugin_files: The single-file plug-ins of the run.
            device: The device to run on.

        Raises:
            MachineError: The software or data of this process differ, so that it would not compute the same.
        """
        store = Store.open(Path(folder))
        manifest = read_manifest(store.folder)
        registry, spec = Registry(plugin_files), Spec.from_json(manifest["spec"])
        resolved = resolve_spec(spec, registry, unregistered=manifest.get("unregistered"))
        works = works_of(resolved, registry, device, read_calibrations(manifest))
        reach = {cell["id"]: cell["samples"] for cell in manifest["cells"]}
        ours = {cell.id for work in works.values() for cell in work.cells.values()}
        theirs = {name: task["asked"] for name, task in manifest["tasks"].items()}
        if ours != reach.keys() or any(fingerprints(work) != theirs for work in works.values()):
            raise MachineError(
                f"a worker's software or data differ from those of the process that started {folder}",
                f"give all machines the same environment; to see the differences, run tokenbench status {folder} on the worker",
            )
        return cls(store, {name: work.limit_to(reach) for name, work in works.items()})

    def run_unit(self, unit: WorkUnit, bar: Progress) -> None:
        """Answer the questions of a unit that the run directory does not hold yet.

        Failures are recorded in the run directory, and the rest of the unit is answered.

        Args:
            unit: The unit.
            bar: Shows the progress.
        """
        work = self._works[unit.model]
        if self._loaded not in ("", unit.model):
            self._works[self._loaded].model.release()
        self._loaded = unit.model
        _Batches(work, self._store, bar).run(self._left[unit.model][unit.start : unit.stop])


class _Batches:
    """Answers the batches of one unit, and keeps track of what is done and what failed."""

    def __init__(self, work: Work, store: Store, bar: Progress) -> None:
        self._work, self._store, self._bar = work, store, bar
        cells = work.cells.values()
        with store.journals.list_once():
            self._done = {cell.id: store.answered_questions(cell.id) for cell in cells}
        self._lost = {cell.id for cell in cells if store.failure(cell.id)}
        self._unfit = {
            (one.task, one.sample, one.asked) for one in store.left_out.all() if one.model == work.model.name
        }
        self._failed = {i for i in range(len(work.arms)) if all(cell.id in self._lost for cell in self._cells(i))}
        for i, error in work.infeasible.items():
            if i not in self._failed:
                self._fail(i, error)
        for at, found in work.calibrated.items():
            if found.kind and work.cells[at].id not in self._lost:
                self._lose_cell(work.cells[at], found.kind, f"strategy {found.strategy}: {found.reason}", "")

    def run(self, batches: Sequence[QuestionBatch]) -> None:
        left = [batch for batch in batches if self._unanswered_arms(batch.questions, batch.arms)]
        skipped = sum(batch.answers for batch in batches) - sum(batch.answers for batch in left)
        self._bar.advance(skipped, "done before")
        if not left:
            return
        with self._work.model.pruner() as pruner:
            for batch, (questions, loaded, unfit) in load_ahead(
                self._work.model, left, self._is_unfit, self._work.media
            ):
                for question, reason in unfit:
                    if self._work.strict or is_passing(reason):
                        self._lose(question, reason, batch.arms)
                    else:
                        self._leave_out(question, reason)
                self._bar.advance(len(batch.arms) * (len(batch.questions) - len(questions)), "left out")
                if loaded is not None:
                    self._run_batch(pruner, questions, batch.arms, loaded)

    def _run_batch(self, pruner: Pruner, questions: Sequence[Question], asked: Sequence[int], loaded: Loaded) -> None:
        """Answer one batch. `asked` holds the arms of the batch; other arms are left out, and share nothing with these."""
        arms, name = self._work.arms, self._work.model.name
        wanted = self._unanswered_arms(questions, asked)
        self._bar.advance((len(asked) - len(wanted)) * len(questions), "done before")
        others = {i for i in range(len(arms)) if i not in asked} | self._failed
        for part, outcome in ask_batch(self._work, pruner, questions, loaded, wanted, others):
            i = outcome.plan
            if outcome.error is not None:
                self._fail(i, outcome.error)
            elif i not in self._failed:
                self._keep(part, outcome)
            self._bar.advance(len(part), f"{name} {arms[i].named.name} {arms[i].budget}")

    def _cells(self, arm: int) -> list[Cell]:
        return [self._work.cells[arm, task] for task in self._work.tasks]

    def _missing_rows(self, arm: int, questions: Sequence[Question]) -> list[tuple[int, Cell]]:
        """Return the rows whose answer under this arm is missing, with their cells."""
        rows = enumerate(self._work.cells_of(arm, questions))
        return [
            (b, cell)
            for b, cell in rows
            if cell.id not in self._lost and not self._has(cell, questions[b][1]) and not self._is_unfit(questions[b])
        ]

    def _is_unfit(self, question: Question) -> bool:
        task, sample = question
        return (task.name, sample.key, sample.digest) in self._unfit

    def _has(self, cell: Cell, sample: Sample) -> bool:
        return (sample.key, sample.digest) in self._done[cell.id]

    def _unanswered_arms(self, questions: Sequence[Question], asked: Sequence[int]) -> list[int]:
        return [i for i in asked if i not in self._failed and self._missing_rows(i, questions)]

    def _keep(self, questions: Sequence[Question], outcome: Outcome) -> None:
        """Append the records that are missing. A scorer that fails costs its own cell."""
        records = []
        for b, cell in self._missing_rows(outcome.plan, questions):
            try:
                records.append((cell.id, _make_record(self._work, questions[b], outcome, b)))
            except Exception as error:  # a task is a third party's code
                task, sample = questions[b]
                reason = f"task '{task.name}' cannot score sample {sample.key}: {brief(error)}"
                self._lose_cell(cell, "failed", reason, traceback.format_exc())
        self._store.journals.append((cell, record) for cell, record in records if cell not in self._lost)

    def _fail(self, arm: int, error: StrategyError | InfeasibleError) -> None:
        """Record that a strategy failed, which costs all its cells."""
        self._failed.add(arm)
        kind = "infeasible" if isinstance(error, InfeasibleError) else "failed"
        for cell in self._cells(arm):
            self._lose_cell(cell, kind, str(error), "".join(traceback.format_exception(error)))

    def _leave_out(self, question: Question, error: SampleError) -> None:
        """Leave out a sample that the model cannot be asked, with the others of its unit, for all strategies alike."""
        task, sample = question
        left_out = []
        for place, other in enumerate(self._work.samples[task.name], start=1):
            if other.key == sample.key or (sample.unit and other.unit == sample.unit):
                reason = error.reason if other is sample else f"it is counted together with sample {sample.key}"
                names = {"sample": other.key, "asked": other.digest, "place": place, "origin": printable(other.origin)}
                left_out.append(
                    LeftOut(model=self._work.model.name, task=task.name, reason=printable(reason), **names)  # type: ignore[arg-type]
                )
        self._store.left_out.add(left_out)
        self._unfit |= {(one.task, one.sample, one.asked) for one in left_out}

    def _lose(self, question: Question, error: SampleError, asked: Sequence[int]) -> None:
        """Record that a sample cannot be shown, which costs the cells of its task."""
        task, sample = question
        for i in asked:
            cell = self._work.cells[i, task.name]
            if cell.id not in self._lost and not self._has(cell, sample):
                self._lose_cell(cell, "failed", str(error), "".join(traceback.format_exception(error)))

    def _lose_cell(self, cell: Cell, kind: str, reason: str, trace: str) -> None:
        self._lost.add(cell.id)
        reason = " ".join(reason.split())
        samples = len(self._work.samples_for(cell))
        self._store.fail(cell.id, {**cell.names, "samples": samples, "kind": kind, "reason": reason})
        self._store.log(cell.id, f"{kind}: {reason}\n{trace}")


def _make_record(work: Work, question: Question, outcome: Outcome, b: int) -> dict[str, Any]:
    task, sample = question
    row = outcome.rows[b]
    grid = lattice_of_first(row.grids, outcome.clips[b], work.model.backbone.tiled)
    return {
        **score_record(task, sample, outcome.answers[b], row, grid),
        **cost_record(row, work.size, work.model.number_bytes),
        "seconds": outcome.seconds[b],
    }
