"""Coordinates a run: checks it, hands the missing work to an executor, publishes the cells that are complete."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

import tokenbench
from tokenbench.executors import Executor, Job
from tokenbench.plugins import Registry
from tokenbench.runner.identity import Cell, packed, versions
from tokenbench.runner.progress import Progress
from tokenbench.runner.spec import Spec
from tokenbench.runner.work import Work, works_of
from tokenbench.store.directory import SCHEMA_VERSION, Store
from tokenbench.store.lock import held

__all__ = ["execute"]

ProgressFactory = Callable[[int], AbstractContextManager[Progress]]


def execute(
    spec: Spec,
    folder: Path,
    known: Registry,
    progress: ProgressFactory,
    executor: Executor | None = None,
    retry_failed: bool = False,
) -> None:
    """Run every cell of `spec` that `folder` does not hold yet, here or where the executor says.

    Everything that can be wrong with the spec is found before the folder is touched. What fails while it runs, a strategy, a
    sample or a scorer, loses its own cells, with the reason in the folder; all others finish. Failed cells are left alone
    unless they are to be tried again.
    """
    from tokenbench.executors.local import Local

    executor = executor or Local()
    store = Store(folder)
    store.check(spec.to_json())
    device = executor.device(spec.device)
    works = works_of(spec, known, device)
    executor.check(works)
    cells = [(cell.id, len(work.samples[cell.task])) for work in works.values() for cell in work.cells.values()]
    store.make()
    with held(folder, sum(store.answers(cell, samples) for cell, samples in cells)):
        store.start(_manifest(spec, works, known))
        if retry_failed:
            for cell, _ in cells:
                store.forgive(cell)
        total = sum(len(batch) * len(work.arms) for work in works.values() for batch in work.batches)
        with progress(total) as bar:
            executor.run(Job(store, works, tuple(map(str, known.files)), device), bar)
        for work in works.values():
            publish(store, work)


def publish(store: Store, work: Work) -> None:
    """Publish the cells of a model whose records are all there. Raises MachineError if there is no reason for one to lack any."""
    for cell in work.cells.values():
        keys = work.samples[cell.task]
        if not store.is_done(cell.id):
            journal = store.journaled(cell.id)
            if store.failure(cell.id) and not journal.keys() >= set(keys):
                continue
            answers = {key: str(journal[key]["answer"]) for key in keys if key in journal}
            official = work.tasks[cell.task].official(answers)
            store.finish(cell.id, keys, {**cell.names, "parts": cell.parts, "official": dict(official)})
        store.sweep(cell.id)  # also what a crash after publication left behind


def _manifest(spec: Spec, works: Mapping[str, Work], known: Registry) -> dict[str, Any]:
    cells: Iterable[Cell] = (cell for work in works.values() for cell in work.cells.values())
    return {
        "schema_version": SCHEMA_VERSION,
        "spec": spec.to_json(),
        **packed(cells),
        "tasks": {
            name: {"unit_rule": task.unit_rule, "identity": task.identity, "samples": len(work.samples[name])}
            for work in works.values()
            for name, task in work.tasks.items()
        },
        "models": {
            name: {
                "identity": work.model.identity,
                "prompt": work.model.prompt,
                "attention": work.model.attention,
                "device": work.model.device,
                "decoder_layers": work.model.depth,
                "decoding": "greedy",
                "checkpoint_asks_for": work.model.asked,
            }
            for name, work in works.items()
        },
        "versions": {"tokenbench": tokenbench.__version__, "python": platform.python_version(), **versions()},
        "hardware": {
            "machine": platform.machine(),
            "system": platform.system(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "plugins": [{"name": p.name, "origin": p.origin, "error": p.error} for p in known.plugins],
        "plugin_files": list(map(str, known.files)),
        "notes": list(dict.fromkeys(note for work in works.values() for note in work.model.notes)),
    }
