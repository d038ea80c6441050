"""Answers a range of a model's batches, into the journals of a run directory. Any number of workers may do so at once."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tokenbench.contract.suite import Sample
from tokenbench.engine import Pruner
from tokenbench.errors import InfeasibleError, MachineError, SampleError, StrategyError, brief, printable
from tokenbench.models.model import Loaded
from tokenbench.registry.plugins import Registry
from tokenbench.runner.evidence import lattice_of_first
from tokenbench.runner.identity import Cell
from tokenbench.runner.passes import Asked, Outcome, OutOfMemory, outcomes
from tokenbench.runner.progress import Progress
from tokenbench.runner.records import check_pruned, cost_record, score_record
from tokenbench.runner.resolve import resolve_written
from tokenbench.runner.showing import is_passing, loaded_ahead
from tokenbench.runner.work import Batch, Question, Work, fingerprints, left_of, works_of
from tokenbench.store.directory import Store
from tokenbench.store.left_out import LeftOut
from tokenbench.store.spec import Spec

__all__ = ["Unit", "Worker"]


@dataclass(frozen=True)
class Unit:
    """Of what is left to do, the batches `start` to `stop` of a model: what a lost worker costs at the most."""

    model: str
    start: int
    stop: int


class Worker:
    """Does units of one run, with one model in memory at a time."""

    def __init__(self, store: Store, works: dict[str, Work]) -> None:
        self._store, self._works = store, works
        self._left = {name: left_of(work, store) for name, work in works.items()}
        self._loaded = ""

    @classmethod
    def of_run(cls, folder: str, plugin_files: Sequence[str], device: str) -> Worker:
        """For a run directory that another process has started. Raises MachineError if this process would not compute the
        same: its software or data are not that one's.
        """
        store = Store.open(Path(folder))
        manifest = store.manifest()
        registry, spec = Registry(plugin_files), Spec.from_json(manifest["spec"])
        resolved = resolve_written(spec, registry, unregistered=manifest.get("unregistered"))
        works = works_of(resolved, registry, device)
        reach = {cell["id"]: cell["samples"] for cell in manifest["cells"]}
        ours = {cell.id for work in works.values() for cell in work.cells.values()}
        theirs = {name: task["asked"] for name, task in manifest["tasks"].items()}
        if ours != reach.keys() or any(fingerprints(work) != theirs for work in works.values()):
            raise MachineError(
                f"a worker's software or data differ from those of the process that started {folder}",
                f"give all machines the same environment; to see the differences, run tokenbench status {folder} on the worker",
            )
        return cls(store, {name: work.reaching(reach) for name, work in works.items()})

    def answer(self, unit: Unit, bar: Progress) -> None:
        """Answer what the run directory does not hold yet. What fails is remembered there, and the rest goes on."""
        work = self._works[unit.model]
        if self._loaded not in ("", unit.model):
            self._works[self._loaded].model.release()
        self._loaded = unit.model
        _Batches(work, self._store, bar).answer(self._left[unit.model][unit.start : unit.stop])


class _Batches:
    """The batches of one unit, and what is done and failed so far."""

    def __init__(self, work: Work, store: Store, bar: Progress) -> None:
        self._work, self._store, self._bar = work, store, bar
        cells = work.cells.values()
        with store.journals.fixed():
            self._done = {cell.id: store.done(cell.id) for cell in cells}
        self._lost = {cell.id for cell in cells if store.failure(cell.id)}
        self._unfit = {
            (one.task, one.sample, one.asked) for one in store.left_out.all() if one.model == work.model.name
        }
        self._failed = {i for i in range(len(work.arms)) if all(cell.id in self._lost for cell in self._cells(i))}

    def answer(self, batches: Sequence[Batch]) -> None:
        left = [batch for batch in batches if self._wanted(batch.questions, batch.arms)]
        skipped = sum(batch.answers for batch in batches) - sum(batch.answers for batch in left)
        self._bar.advance(skipped, "done before")
        if not left:
            return
        with self._work.model.pruner() as pruner:
            for batch, (questions, loaded, unfit) in loaded_ahead(self._work.model, left, self._is_unfit):
                for question, reason in unfit:
                    if self._work.strict or is_passing(reason):
                        self._lose(question, reason, batch.arms)
                    else:
                        self._leave_out(question, reason)
                self._bar.advance(len(batch.arms) * (len(batch.questions) - len(questions)), "left out")
                if loaded is not None:
                    self._answer(pruner, questions, batch.arms, loaded)

    def _answer(self, pruner: Pruner, questions: Sequence[Question], asked: Sequence[int], loaded: Loaded) -> None:
        """asked: the arms of the batch; others are left out, and share nothing with these."""
        arms, name = self._work.arms, self._work.model.name
        wanted = self._wanted(questions, asked)
        self._bar.advance((len(asked) - len(wanted)) * len(questions), "done before")
        others = {i for i in range(len(arms)) if i not in asked} | self._failed
        for part, outcome in _answered(self._work, pruner, questions, loaded, wanted, others):
            i = outcome.plan
            if outcome.error is not None:
                self._fail(i, outcome.error)
            elif i not in self._failed:
                self._keep(part, outcome)
            self._bar.advance(len(part), f"{name} {arms[i].named.name} {arms[i].budget}")

    def _cells(self, arm: int) -> list[Cell]:
        return [self._work.cells[arm, task] for task in self._work.tasks]

    def _missing(self, arm: int, questions: Sequence[Question]) -> list[tuple[int, Cell]]:
        """Rows whose answer under this arm is not there yet, with the cells they go to."""
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

    def _wanted(self, questions: Sequence[Question], asked: Sequence[int]) -> list[int]:
        return [i for i in asked if i not in self._failed and self._missing(i, questions)]

    def _keep(self, questions: Sequence[Question], outcome: Outcome) -> None:
        """Append the records that are missing. A scorer that fails loses its own cell."""
        found = []
        for b, cell in self._missing(outcome.plan, questions):
            try:
                found.append((cell.id, _record(self._work, questions[b], outcome, b)))
            except Exception as error:  # of a task, which may be anybody's
                task, sample = questions[b]
                reason = f"task '{task.name}' cannot score sample {sample.key}: {brief(error)}"
                self._lose_cell(cell, "failed", reason, traceback.format_exc())
        self._store.append((cell, record) for cell, record in found if cell not in self._lost)

    def _fail(self, arm: int, error: StrategyError | InfeasibleError) -> None:
        """A strategy that fails loses all its cells."""
        self._failed.add(arm)
        kind = "infeasible" if isinstance(error, InfeasibleError) else "failed"
        for cell in self._cells(arm):
            self._lose_cell(cell, kind, str(error), "".join(traceback.format_exception(error)))

    def _leave_out(self, question: Question, error: SampleError) -> None:
        """A sample that the model cannot be asked is left out for all strategies alike, and the others of its unit with it."""
        task, sample = question
        found = []
        for place, other in enumerate(self._work.samples[task.name], start=1):
            if other is sample or (sample.unit and other.unit == sample.unit):
                reason = error.reason if other is sample else f"it is counted together with sample {sample.key}"
                names = {"sample": other.key, "asked": other.digest, "place": place, "origin": printable(other.origin)}
                found.append(
                    LeftOut(model=self._work.model.name, task=task.name, reason=printable(reason), **names)  # type: ignore[arg-type]
                )
        self._store.left_out.add(found)
        self._unfit |= {(one.task, one.sample, one.asked) for one in found}

    def _lose(self, question: Question, error: SampleError, asked: Sequence[int]) -> None:
        """A sample that cannot be shown loses the cells of its task."""
        task, sample = question
        for i in asked:
            cell = self._work.cells[i, task.name]
            if cell.id not in self._lost and not self._has(cell, sample):
                self._lose_cell(cell, "failed", str(error), "".join(traceback.format_exception(error)))

    def _lose_cell(self, cell: Cell, kind: str, reason: str, trace: str) -> None:
        self._lost.add(cell.id)
        reason = " ".join(reason.split())
        samples = len(self._work.asked(cell))
        self._store.fail(cell.id, {**cell.names, "samples": samples, "kind": kind, "reason": reason})
        self._store.log(cell.id, f"{kind}: {reason}\n{trace}")


def _answered(
    work: Work, pruner: Pruner, questions: Sequence[Question], loaded: Loaded, wanted: Sequence[int], failed: set[int]
) -> Iterator[tuple[Sequence[Question], Outcome]]:
    """Outcomes of the wanted arms, each with the questions it is of: all of them, or halves where memory is short."""
    left = list(wanted)
    try:
        batch = work.model.encode(loaded, work.requests)
        keys = [f"{task.name}/{sample.key}" for task, sample in questions]
        asked = Asked(batch, keys, [task.max_new_tokens for task, _ in questions])
        for outcome in outcomes(work.model, pruner, work.plans, left, failed, asked, work.size):
            yield questions, _checked(work, outcome)
            left.remove(outcome.plan)
        return
    except (OutOfMemory, torch.OutOfMemoryError):
        if len(questions) == 1:
            raise MachineError(
                f"'{work.model.name}' does not fit into memory even with one question per batch",
                "use a smaller --dtype or another device",
            ) from None
    for half in (questions[: len(questions) // 2], questions[len(questions) // 2 :]):
        parts = work.model.load_samples([sample for _, sample in half])
        yield from _answered(work, pruner, half, parts, left, failed)


def _checked(work: Work, outcome: Outcome) -> Outcome:
    """The outcome, an error if its strategy keeps everything."""
    try:
        for row in outcome.rows:
            check_pruned(work.plans[outcome.plan], row)
    except StrategyError as error:
        return Outcome(outcome.plan, error=error)
    return outcome


def _record(work: Work, question: Question, outcome: Outcome, b: int) -> dict[str, Any]:
    task, sample = question
    row = outcome.rows[b]
    grid = lattice_of_first(row.grids, outcome.clips[b], work.model.backbone.tiled)
    return {
        **score_record(task, sample, outcome.answers[b], row, grid),
        **cost_record(row, work.size, work.model.number_bytes),
        "seconds": outcome.seconds,
    }
