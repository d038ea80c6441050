"""Runs the missing cells, sample-major: every batch is rendered and encoded once for all of them."""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import tokenbench
from tokenbench import engine
from tokenbench.budget import count
from tokenbench.cost import ModelSize
from tokenbench.engine import Plan, Pruner, RowTrace, Wish
from tokenbench.errors import InfeasibleError, StrategyError, UsageError
from tokenbench.evidence import evidence_tokens, lattice_of_first, recall
from tokenbench.matching import match
from tokenbench.model import Batch, Model
from tokenbench.plugins import Registry
from tokenbench.progress import Progress
from tokenbench.realised import realised_bytes, realised_flops
from tokenbench.source import Source, locate
from tokenbench.spec import Arm, Cell, Spec, arms, source_hash
from tokenbench.store import SCHEMA_VERSION, Store
from tokenbench.strategy import Grid
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
        "strategy": [arm.named.name, source_hash(arm.named.strategy)],
        "budget": [str(arm.budget), spec.match],
        "seed": arm.seed,
        "task": [spec.suite, task.name, source_hash(task), task.identity],
        "numerics": [spec.dtype, model.device, spec.batch_size, model.attention],
        "engine": [tokenbench.__version__, *(source_hash(part) for part in (engine.Pruner, engine.Plan, Model))],
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
    with work.model.pruner() as pruner:
        for questions in work.batches:
            batch: Batch | None = None
            for i, arm in enumerate(work.arms):
                cells = work.cells_of(i, questions)
                new = [sample.key not in done[cell.id] for cell, (_, sample) in zip(cells, questions, strict=True)]
                if any(new) and i not in failed:
                    batch = batch or work.model.prepare([sample for _, sample in questions], work.wish)
                    try:
                        records = _answer(work, pruner, work.plans[i], questions, batch)
                    except (StrategyError, InfeasibleError) as error:
                        failed[i] = error
                    else:
                        store.append(
                            (cell.id, record)
                            for cell, record, is_new in zip(cells, records, new, strict=True)
                            if is_new
                        )
                bar.advance(len(questions), f"{work.model.name} {arm.named.name} {arm.budget}")
    for (i, _), cell in work.cells.items():
        if i in failed:
            kind = "infeasible" if isinstance(failed[i], InfeasibleError) else "failed"
            store.fail(cell.id, {**asdict(cell), "kind": kind, "reason": str(failed[i])})
            continue
        if not store.is_done(cell.id):
            asked = {s.key: task for batch in work.batches for task, s in batch if task.name == cell.task}
            answers = {key: str(record["answer"]) for key, record in store.journaled(cell.id).items() if key in asked}
            official = next(iter(asked.values())).official(answers)
            store.finish(cell.id, list(asked), {**asdict(cell), "official": dict(official)})
        store.sweep(cell.id)  # also what a crash after publication left behind


def _answer(
    work: Work, pruner: Pruner, plan: Plan, questions: Sequence[Question], batch: Batch
) -> list[dict[str, Any]]:
    """The records of one batch under one arm. Always the whole batch: a row's numbers depend on its company."""
    model = work.model
    plans = [plan.of(f"{task.name}/{sample.key}") for task, sample in questions]
    start = time.perf_counter()
    answers, rows = model.generate(batch, pruner, plans, [task.max_new_tokens for task, _ in questions])
    seconds = (time.perf_counter() - start) / len(questions)
    for row in rows:
        _check_pruned(plan, row)
    grids = [lattice_of_first(r.grids, clip, model.backbone.tiled) for r, clip in zip(rows, batch.clips, strict=True)]
    return [
        {**_record(question, answer, row, grid), **_cost(work, row), "seconds": seconds}
        for question, answer, row, grid in zip(questions, answers, rows, grids, strict=True)
    ]


def _check_pruned(plan: Plan, row: RowTrace) -> None:
    """Raise StrategyError for a strategy that keeps everything under a budget that does not."""
    wanted = count(plan.budget.keep, row.visual, row.visual)
    if plan.strategy.budgeted and wanted < row.visual and row.mean_tokens >= row.visual:
        raise StrategyError(
            f"strategy {plan.name} keeps all {row.visual} visual tokens in every layer at budget {plan.budget}"
        )


def _record(question: Question, answer: str, row: RowTrace, grid: Grid | None) -> dict[str, Any]:
    task, sample = question
    evidence = evidence_tokens(sample.evidence, grid) if grid else set()
    kept = row.kept
    return {
        "sample": sample.key,
        "cluster": sample.cluster,
        "unit": sample.unit or sample.key,
        "stratum": sample.stratum,
        "answer": answer,
        "target": sample.target,
        "score": float(task.score(answer, sample)),
        "kept": kept,
        "lattice": [grid.t, grid.h, grid.w, grid.lead] if grid else None,
        "evidence_recall": recall(kept, evidence),
    }


def _cost(work: Work, row: RowTrace) -> dict[str, Any]:
    """The realised budget."""
    size = work.size
    return {
        "visual_tokens": row.visual,
        "text_tokens": row.text,
        "tokens_per_layer": row.tokens_per_layer,
        "realised_tokens": row.mean_tokens,
        "flops": realised_flops(row, size) if size else math.nan,
        "cache_bytes": realised_bytes(row, size, work.model.number_bytes) if size else math.nan,
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
