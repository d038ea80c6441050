"""Coordinates a run: checks it, hands the missing work to an executor, publishes the cells that are complete."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

import tokenbench
from tokenbench.contract.cells import VANILLA
from tokenbench.contract.executor import Executor
from tokenbench.errors import UsageError
from tokenbench.registry.plugins import Registry
from tokenbench.runner.growth import grown, growth, with_seeds
from tokenbench.runner.identity import Cell, packed, versions
from tokenbench.runner.job import Job
from tokenbench.runner.progress import Progress
from tokenbench.runner.resolve import Resolved, resolve_written
from tokenbench.runner.stopping import plan_of, until_decided
from tokenbench.runner.work import Work, fingerprints, left_of, works_of
from tokenbench.store.directory import SCHEMA_VERSION, Store
from tokenbench.store.lock import held
from tokenbench.store.spec import Spec

__all__ = ["execute"]

ProgressFactory = Callable[[int], AbstractContextManager[Progress]]


def execute(
    asked: Resolved,
    folder: Path,
    registry: Registry,
    progress: ProgressFactory,
    executor: Executor | None = None,
    retry_failed: bool = False,
    say: Callable[[str], object] = lambda text: None,
) -> Resolved:
    """Run every cell that is asked for and that `folder` does not hold yet; a run that is there grows.

    Everything that can be wrong with what is asked for is found before the folder is touched. What fails while it runs, a strategy,
    a sample or a scorer, loses its own cells, with the reason in the folder; all others finish.

    Args:
        asked: the run.
        folder: its run directory.
        registry: where names are looked up.
        progress: makes a progress bar for a number of answers.
        executor: where the work is done; in this process unless given.
        retry_failed: whether failed cells are tried again.
        say: is told in a sentence how the run grows, and what was decided.

    Returns:
        All that the run directory is a run of now.

    Raises:
        UsageError: for what cannot be run, or not there.
        MachineError: for what this machine cannot do.
    """
    from tokenbench.runner.local import Local

    executor = executor or Local()
    store = Store(folder)
    store.check()
    before = _there(store, asked.spec)
    resolved = _grown(before, asked, store, registry) if before else asked
    spec = resolved.spec
    _check_objects(resolved, executor)
    device = executor.device(spec.device)
    works = works_of(resolved, registry, device)
    plan_of(spec, next(iter(works.values())).samples)
    executor.check(works)
    prints = fingerprints(next(iter(works.values())))  # once: every look writes the manifest
    store.make()
    with store.journals.fixed():
        done = sum(store.answers(cell.id, len(work.asked(cell))) for work, cell in _cells(works))
    with held(folder, done):
        if _there(store, spec) not in (before, spec):  # the same command, given twice, is no change
            raise UsageError(f"another process changed the settings of {folder} at the same time", "run it again")
        if before and (more := growth(before, spec)):
            say(f"{folder} is extended ({more}); finished work is kept")
        if retry_failed:
            for _, cell in _cells(works):
                store.forgive(cell.id)
            store.left_out.forget()

        def run(works: Mapping[str, Work]) -> None:
            """All that is asked of these works, to the last published cell."""
            store.start(_manifest(resolved, works, registry, prints))
            left = {name: left_of(work, store) for name, work in works.items()}
            total = sum(batch.answers for batches in left.values() for batch in batches)
            with progress(total) as bar:
                if total:
                    executor.run(Job(store, works, left, tuple(map(str, registry.files)), device), bar)
            with store.journals.fixed():
                publish(store, works)

        known_before = store.manifest() if before else None
        try:
            if spec.until:
                until_decided(spec, works, folder, run, say)
            else:
                run(works)
        except UsageError:  # what cannot be done, and is seen only now, must not stay a part of the run
            if known_before:
                store.start(known_before)
            raise
    return resolved


def _there(store: Store, asked: Spec) -> Spec | None:
    """The spec of a run that is there, with the seeds that it used if others are asked for."""
    if not store.is_run():
        return None
    manifest = store.manifest()
    there = Spec.from_json(manifest["spec"])
    return with_seeds(there, manifest) if asked.seeds else there


def _grown(before: Spec, asked: Resolved, store: Store, registry: Registry) -> Resolved:
    """What the run that is there becomes; what only its run.json names is looked up."""
    whole = grown(before, asked.spec, store.folder)
    if whole == asked.spec:
        return asked
    return resolve_written(whole, registry, asked, store.manifest().get("unregistered"))


def _check_objects(resolved: Resolved, executor: Executor) -> None:
    """Refuse to send objects that only this process can make to others."""
    if resolved.unregistered and not executor.in_process:
        names = ", ".join(f"'{name}'" for own in resolved.unregistered.values() for name in own)
        raise UsageError(
            f"{type(executor).__name__} works in other processes, which cannot make {names}: no plug-in registers it",
            "register it in a plug-in and give its name, or run it in this process",
        )


def _cells(works: Mapping[str, Work]) -> list[tuple[Work, Cell]]:
    """Vanilla's last."""
    found = [(work, cell) for work in works.values() for cell in work.cells.values()]
    return sorted(found, key=lambda pair: pair[1].strategy == VANILLA)


def publish(store: Store, works: Mapping[str, Work]) -> None:
    """Publish the cells whose records are all there. Raises MachineError if there is no reason for one to lack any.

    Vanilla, which everything is compared with, comes last: as far as it goes, all others do.
    """
    left_out = store.left_out.questions()
    for work, cell in _cells(works):
        unfit = left_out.get((work.model.name, cell.task), set())
        asked = {s.key: s.digest for s in work.asked(cell) if (s.key, s.digest) not in unfit}
        if not asked and unfit:
            _fail(store, work, cell)
            continue
        if not store.published(cell.id) >= asked.items():
            records = store.records_of(cell.id)
            if store.failure(cell.id) and not records.keys() >= asked.items():
                continue
            answers = {
                key: str(records[key, digest]["answer"]) for key, digest in asked.items() if (key, digest) in records
            }
            official = work.tasks[cell.task].official(answers)
            about = {**cell.names, "parts": cell.parts, "official": dict(official)}
            store.finish(cell.id, asked, about, records)
        store.sweep(cell.id, unfit)  # also what a crash after publication left behind


def _fail(store: Store, work: Work, cell: Cell) -> None:
    """A task none of whose samples the model can be asked has no numbers."""
    first = next(one for one in store.left_out.all() if (one.model, one.task) == (cell.model, cell.task))
    reason = f"task '{cell.task}': the model can process none of its samples; {first.named}"
    samples = len(work.asked(cell))
    store.fail(cell.id, {**cell.names, "samples": samples, "kind": "failed", "reason": reason})


def _manifest(
    resolved: Resolved, works: Mapping[str, Work], registry: Registry, prints: Mapping[str, str]
) -> dict[str, Any]:
    """Make what run.json holds. prints: fingerprints of the samples of every task, by its name."""
    spec = resolved.spec
    reach = {cell.id: len(work.asked(cell)) for work in works.values() for cell in work.cells.values()}
    first = next(iter(works.values()))
    return {
        "schema_version": SCHEMA_VERSION,
        "spec": spec.to_json(),
        **packed([cell for work in works.values() for cell in work.cells.values()], reach),
        "tasks": {
            name: {
                "unit_rule": task.unit_rule,
                "identity": task.identity,
                "samples": len(first.samples[name]),
                "of": len(task.samples()),
                "asked": prints[name],
            }
            for name, task in first.tasks.items()
        },
        "seed_scopes": {
            arm.named.name: arm.named.strategy.seed_scope for arm in first.arms if arm.named.strategy.stochastic
        },
        **({"unregistered": resolved.unregistered} if resolved.unregistered else {}),
        **({"plan": plan} if (plan := plan_of(spec, first.samples)) else {}),
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
        "plugins": [{"name": p.name, "origin": p.origin, "error": p.error} for p in registry.plugins],
        "plugin_files": list(map(str, registry.files)),
        "notes": list(dict.fromkeys(note for work in works.values() for note in work.model.notes)),
    }
