"""Runs the missing cells, sample-major: every batch is rendered and encoded once for all of them."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import tokenbench
from tokenbench import engine, passes, records
from tokenbench.cost import ModelSize
from tokenbench.engine import Plan, Pruner, Wish
from tokenbench.errors import InfeasibleError, MachineError, StrategyError, UsageError
from tokenbench.evidence import lattice_of_first
from tokenbench.matching import match
from tokenbench.model import Loaded, Model
from tokenbench.passes import Asked, Outcome, OutOfMemory, outcomes
from tokenbench.plugins import Registry
from tokenbench.progress import Progress
from tokenbench.records import check_pruned, cost_record, score_record
from tokenbench.source import Source, locate
from tokenbench.spec import Arm, Cell, Spec, arms, source_hash
from tokenbench.store import SCHEMA_VERSION, Store
from tokenbench.suite import Sample, Task, first
from tokenbench.suites import resolve_suite

__all__ = ["execute"]

Question = tuple[Task, Sample]
ProgressFactory = Callable[[int], AbstractContextManager[Progress]]
LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "pillow")


@dataclass(frozen=True)
class Work:
    """One model's share of a run: what is asked, in which batches, under which arms, into which cells."""

    model: Model
    arms: Sequence[Arm]
    plans: Sequence[Plan]  # one an arm
    wish: Wish
    size: ModelSize | None
    batches: Sequence[Sequence[Question]]
    cells: dict[tuple[int, str], Cell]  # (number of the arm, task) -> cell

    def cells_of(self, arm: int, questions: Sequence[Question]) -> list[Cell]:
        """The cell that each question's answer goes to."""
        return [self.cells[arm, task.name] for task, _ in questions]


def execute(spec: Spec, folder: Path, known: Registry, progress: ProgressFactory) -> None:
    """Run every cell of `spec` that `folder` does not hold yet.

    Everything that can be wrong with the spec is found before the folder is touched. A strategy that fails while it runs, or
    has no schedule of the cost asked for, loses its own cells, with the reason in the folder; all others finish.
    """
    store = Store(folder)
    store.check(spec.to_json())
    _, tasks = resolve_suite(spec.suite, spec.tasks, known, spec.data, spec.definitions)
    batches = list(_batches(_questions(tasks, spec.limit), spec.batch_size))
    sources = {name: locate(name, known) for name in spec.models}
    works = []
    for name, source in sources.items():
        works.append(_work(spec, name, source, tasks, batches, known))
        _check_budgets(works[-1])
        if len(sources) > 1:  # one model at a time in memory
            works[-1].model.release()
    store.start(_manifest(spec, works, known))
    total = sum(len(batch) * len(work.arms) for work in works for batch in work.batches)
    with progress(total) as bar:
        for work in works:
            work.model.load()
            _run(work, store, bar)
            work.model.release()


def _questions(tasks: Sequence[Task], limit: int | None) -> list[Question]:
    """The questions of all tasks, those on the same images side by side."""
    chosen = [(task, sample) for task in tasks for sample in first(task, limit)]
    place = {cluster: i for i, cluster in enumerate(dict.fromkeys(sample.cluster for _, sample in chosen))}
    return sorted(chosen, key=lambda question: place[question[1].cluster])


def _batches(questions: Sequence[Question], size: int) -> Iterator[Sequence[Question]]:
    """The same batches however much of a run is done already, so that a resumed run computes the same numbers."""
    for start in range(0, len(questions), size):
        yield questions[start : start + size]


def _work(
    spec: Spec,
    name: str,
    source: Source,
    tasks: Sequence[Task],
    batches: Sequence[Sequence[Question]],
    known: Registry,
) -> Work:
    model = Model(name, source, spec.device, spec.dtype, spec.attention)
    chosen = arms(spec, known)
    size = model.size
    plans = [
        Plan.make(
            arm.named.strategy,
            arm.budget,
            model.depth,
            arm.seed,
            match(spec.match, arm.named.strategy, arm.budget, model.depth, size),
            arm.named.name,
        )
        for arm in chosen
    ]
    wish = Wish.of(stage for plan in plans for stage in plan.typical)
    cells = {(i, task.name): _cell(spec, model, arm, task) for i, arm in enumerate(chosen) for task in tasks}
    return Work(model, chosen, plans, wish, size, batches, cells)


def _cell(spec: Spec, model: Model, arm: Arm, task: Task) -> Cell:
    identity = {
        "model": [model.name, model.identity, source_hash(model.backbone), model.prompt],
        "strategy": [arm.named.name, *map(source_hash, arm.named.strategy.parts)],
        "budget": [str(arm.budget), spec.match],
        "seed": arm.seed,
        "task": [spec.suite, task.name, source_hash(task), task.identity],
        "numerics": [spec.dtype, model.device, spec.batch_size, model.attention],
        "engine": [tokenbench.__version__, *map(source_hash, (engine.Pruner, passes, records))],
        "libraries": {library: version(library) for library in LIBRARIES},
    }
    digest = sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:20]
    return Cell(digest, model.name, arm.named.name, str(arm.budget), arm.seed, task.name)


def _check_budgets(work: Work) -> None:
    """Refuse budgets above the number of visual tokens that the first samples have."""
    largest = max((arm.budget.tokens or 0 for arm in work.arms), default=0)
    if not largest or not work.batches:
        return
    batch = work.model.prepare([sample for _, sample in work.batches[0]])
    tokens = max(work.model.visual_tokens(batch))
    if largest > tokens:
        raise UsageError(
            f"budget '{largest}' is more than the {tokens} visual tokens {work.model.name} has for a sample"
        )


def _run(work: Work, store: Store, bar: Progress) -> None:
    done = {cell.id: store.done(cell.id) for cell in work.cells.values()}
    failed: dict[int, StrategyError | InfeasibleError] = {}

    def missing(i: int, questions: Sequence[Question]) -> list[tuple[int, Cell]]:
        """Rows whose answer under this arm is not there yet, with the cells they go to."""
        cells = enumerate(work.cells_of(i, questions))
        return [(b, cell) for b, cell in cells if questions[b][1].key not in done[cell.id]]

    def wanted(questions: Sequence[Question]) -> list[int]:
        return [i for i in range(len(work.arms)) if i not in failed and missing(i, questions)]

    left = [questions for questions in work.batches if wanted(questions)]
    skipped = sum(map(len, work.batches)) - sum(map(len, left))
    bar.advance(len(work.arms) * skipped, "done before")
    with work.model.pruner() as pruner:
        for questions, loaded in _loaded(work.model, left):
            asked = wanted(questions)
            bar.advance((len(work.arms) - len(asked)) * len(questions), "done before")
            for part, outcome in _answered(work, pruner, questions, loaded, asked, set(failed)):
                i = outcome.plan
                if outcome.error is not None:
                    failed[i] = outcome.error
                elif i not in failed:
                    new = dict(missing(i, part))
                    records = _records(work, part, outcome, new)
                    store.append((cell.id, record) for cell, record in zip(new.values(), records, strict=True))
                bar.advance(len(part), f"{work.model.name} {work.arms[i].named.name} {work.arms[i].budget}")
    for (i, _), cell in work.cells.items():
        if i in failed:
            kind = "infeasible" if isinstance(failed[i], InfeasibleError) else "failed"
            store.fail(cell.id, {**asdict(cell), "kind": kind, "reason": str(failed[i])})
            continue
        if not store.is_done(cell.id):
            asked_of = {s.key: task for batch in work.batches for task, s in batch if task.name == cell.task}
            journal = store.journaled(cell.id)
            answers = {key: str(record["answer"]) for key, record in journal.items() if key in asked_of}
            official = next(iter(asked_of.values())).official(answers)
            store.finish(cell.id, list(asked_of), {**asdict(cell), "official": dict(official)})
        store.sweep(cell.id)  # also what a crash after publication left behind


def _loaded(model: Model, batches: Sequence[Sequence[Question]]) -> Iterator[tuple[Sequence[Question], Loaded]]:
    """Every batch with its images; the next one is loaded while one runs."""
    with ThreadPoolExecutor(1) as ahead:

        def load(at: int) -> Future[Loaded] | None:
            return ahead.submit(model.load_samples, [s for _, s in batches[at]]) if at < len(batches) else None

        coming = load(0)
        for at, questions in enumerate(batches):
            assert coming is not None
            loaded, coming = coming.result(), load(at + 1)
            yield questions, loaded


def _answered(
    work: Work, pruner: Pruner, questions: Sequence[Question], loaded: Loaded, wanted: Sequence[int], failed: set[int]
) -> Iterator[tuple[Sequence[Question], Outcome]]:
    """Outcomes of the wanted arms, each with the questions it is of: all of them, or halves where memory is short."""
    left = list(wanted)
    try:
        batch = work.model.encode(loaded, work.wish)
        keys = [f"{task.name}/{sample.key}" for task, sample in questions]
        asked = Asked(batch, keys, [task.max_new_tokens for task, _ in questions])
        for outcome in outcomes(work.model, pruner, work.plans, left, failed, asked, work.size):
            yield questions, _checked(work, outcome)
            left.remove(outcome.plan)
        return
    except (OutOfMemory, torch.OutOfMemoryError):
        if len(questions) == 1:
            raise MachineError(
                f"'{work.model.name}' does not fit into memory with one question",
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


def _records(
    work: Work, questions: Sequence[Question], outcome: Outcome, rows: Iterable[int]
) -> Iterator[dict[str, Any]]:
    """The records of these rows."""
    for b in rows:
        task, sample = questions[b]
        row = outcome.rows[b]
        grid = lattice_of_first(row.grids, outcome.clips[b], work.model.backbone.tiled)
        yield {
            **score_record(task, sample, outcome.answers[b], row, grid),
            **cost_record(row, work.size, work.model.number_bytes),
            "seconds": outcome.seconds,
        }


def _manifest(spec: Spec, works: Sequence[Work], known: Registry) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "spec": spec.to_json(),
        "cells": [asdict(cell) for work in works for cell in work.cells.values()],
        "tasks": {
            task.name: {"unit_rule": task.unit_rule, "identity": task.identity}
            for batch in works[0].batches
            for task, _ in batch
        },
        "models": {
            work.model.name: {
                "identity": work.model.identity,
                "prompt": work.model.prompt,
                "attention": work.model.attention,
                "decoder_layers": work.model.depth,
                "decoding": "greedy",
            }
            for work in works
        },
        "versions": {
            "tokenbench": tokenbench.__version__,
            "python": platform.python_version(),
            **{library: version(library) for library in LIBRARIES},
        },
        "hardware": {
            "machine": platform.machine(),
            "system": platform.system(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "plugins": [{"name": p.name, "origin": p.origin, "error": p.error} for p in known.plugins],
        "notes": list(dict.fromkeys(note for work in works for note in work.model.backbone.notes)),
    }
