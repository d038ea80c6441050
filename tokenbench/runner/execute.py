"""Coordinates a run: checks it, gives the missing work to an executor, and writes the final files of complete cells."""

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
from tokenbench.contract.suite import Task
from tokenbench.contract.suite import first as first_samples
from tokenbench.errors import TokenBenchError, UsageError, brief, of_machine
from tokenbench.registry.plugins import Registry
from tokenbench.runner.calibration import calibrate
from tokenbench.runner.fitting import check_clips
from tokenbench.runner.growth import describe_growth, grow, with_seeds
from tokenbench.runner.identity import Cell, pack_cells, versions
from tokenbench.runner.job import Job
from tokenbench.runner.progress import Progress
from tokenbench.runner.resolve import Resolved, resolve_spec
from tokenbench.runner.stopping import plan_looks, run_until_decided
from tokenbench.runner.work import Work, fingerprints, left_of, works_of
from tokenbench.store.calibrated import Calibration, read_calibrations, write_calibrations
from tokenbench.store.directory import Store
from tokenbench.store.lock import run_lock
from tokenbench.store.merging import check_unmerged
from tokenbench.store.run_json import SCHEMA_VERSION, is_run, read_manifest
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
    """Run every requested cell that the run directory does not hold yet. An existing run grows.

    Errors in the request are found before the folder is touched. A strategy, sample or scorer that fails during the run costs its own
    cells, and the folder records the reason; all other cells finish.

    Args:
        asked: What to run.
        folder: The run directory.
        registry: The plug-ins.
        progress: Makes a progress bar for a number of answers.
        executor: Where the work is done; by default, in this process.
        retry_failed: Whether to run failed cells again.
        say: Takes a sentence on how the run grows, and on what was decided.

    Returns:
        What the run directory is a run of now.

    Raises:
        UsageError: The request cannot be run, or not in this folder.
        MachineError: This machine cannot run it.
    """
    from tokenbench.runner.local import Local

    executor = executor or Local()
    store = Store(folder)
    store.check()
    before = _existing_spec(store, asked.spec)
    resolved = _grow(before, asked, store, registry) if before else asked
    spec = resolved.spec
    _check_objects(resolved, executor)
    device = executor.device(spec.device)
    known = _read_calibrations(store, retry_failed) if before else {}
    works = works_of(resolved, registry, device, known)
    plan_looks(spec, next(iter(works.values())).samples)
    executor.check(works)
    check_clips([] if before else works.values())
    works = calibrate(works, spec.held_out, executor.in_process and len(works) == 1, say)
    prints = fingerprints(next(iter(works.values())))  # once: every look writes the manifest
    store.make_folders()
    with store.journals.list_once():
        done = sum(store.count_answers(cell.id, len(work.samples_for(cell))) for work, cell in _cells(works))
    with run_lock(folder, done):
        if _existing_spec(store, spec) not in (before, spec):  # the same command, given twice, is no change
            raise UsageError(f"another process changed the settings of {folder} at the same time", "run it again")
        if before and (more := describe_growth(before, spec)):
            say(f"{folder} is extended ({more}); finished work is kept")
        if retry_failed:
            for _, cell in _cells(works):
                store.clear_failure(cell.id)
            store.left_out.forget()

        def run(works: Mapping[str, Work]) -> None:
            """Answer all that is asked of these works, and finish their cells."""
            store.start(_manifest(resolved, works, registry, prints))
            unfit = store.left_out.questions()
            left = {name: left_of(work, store) for name, work in works.items()}
            left = {name: batches for name, batches in left.items() if any(one.has_fit(name, unfit) for one in batches)}
            total = sum(batch.answers for batches in left.values() for batch in batches)
            with progress(total) as bar:
                if total:
                    executor.run(Job(store, works, left, tuple(map(str, registry.files)), device), bar)
            with store.journals.list_once():
                finish_cells(store, works)

        manifest_before = read_manifest(store.folder) if before else None
        try:
            if spec.until:
                run_until_decided(spec, works, folder, run, say)
            else:
                run(works)
        except UsageError:  # a request that turns out now to be impossible must not stay a part of the run
            if manifest_before:
                store.start(manifest_before)
            raise
    return resolved


def _existing_spec(store: Store, asked: Spec) -> Spec | None:
    """Return the spec of the run in the folder, with the seeds that it used if the request names seeds; None if there is no run."""
    if not is_run(store.folder):
        return None
    manifest = read_manifest(store.folder)
    check_unmerged(manifest, store.folder)
    there = Spec.from_json(manifest["spec"])
    return with_seeds(there, manifest) if asked.seeds else there


def _read_calibrations(store: Store, retry_failed: bool) -> dict[str, Calibration]:
    """Return what an existing run has calibrated. Failures are found again if failed cells are to be run again."""
    found = read_calibrations(read_manifest(store.folder))
    return {base: one for base, one in found.items() if not (retry_failed and one.kind == "failed")}


def _grow(before: Spec, asked: Resolved, store: Store, registry: Registry) -> Resolved:
    """Return what an existing run becomes. Names that only its run.json holds are looked up."""
    whole = grow(before, asked.spec, store.folder)
    if whole == asked.spec:
        return asked
    return resolve_spec(whole, registry, asked, read_manifest(store.folder).get("unregistered"))


def _check_objects(resolved: Resolved, executor: Executor) -> None:
    """Raise UsageError if other processes would need objects that only this process can make."""
    if resolved.unregistered and not executor.in_process:
        names = ", ".join(f"'{name}'" for own in resolved.unregistered.values() for name in own)
        raise UsageError(
            f"{type(executor).__name__} works in other processes, which cannot make {names}: no plug-in registers it",
            "register it in a plug-in and give its name, or run it in this process",
        )


def _cells(works: Mapping[str, Work]) -> list[tuple[Work, Cell]]:
    """Return all cells with their works. Vanilla's come last."""
    cells = [(work, cell) for work in works.values() for cell in work.cells.values()]
    return sorted(cells, key=lambda pair: pair[1].strategy == VANILLA)


def finish_cells(store: Store, works: Mapping[str, Work]) -> None:
    """Write the final files of the cells that have all their records.

    Vanilla, with which everything is compared, comes last: no other cell then has fewer samples than vanilla.

    Raises:
        MachineError: A cell lacks records although it did not fail.
    """
    left_out = store.left_out.questions()
    for work, cell in _cells(works):
        unfit = left_out.get((work.model.name, cell.task), set())
        asked = {s.key: s.digest for s in work.samples_for(cell) if (s.key, s.digest) not in unfit}
        if not asked and unfit:
            _fail_cell(store, work, cell)
            continue
        if not store.final_questions(cell.id) >= asked.items():
            records = store.records_of(cell.id)
            if store.failure(cell.id) and not records.keys() >= asked.items():
                continue
            answers = {
                key: str(records[key, digest]["answer"]) for key, digest in asked.items() if (key, digest) in records
            }
            try:
                official = work.tasks[cell.task].official(answers)
            except Exception as error:  # a task is a third party's code
                if machine := of_machine(error):
                    raise machine from error
                said = str(error) if isinstance(error, TokenBenchError) else brief(error)
                _fail(store, work, cell, f"task '{cell.task}' cannot report its official numbers: {said}")
                continue
            about = {**cell.names, "parts": cell.parts, "official": dict(official)}
            store.finish(cell.id, asked, about, records)
        store.clean_up(cell.id, unfit)  # also files that a crash left behind after the final file was written


def _fail_cell(store: Store, work: Work, cell: Cell) -> None:
    """Record the failure of a cell none of whose samples the model can be asked."""
    first = next(one for one in store.left_out.all() if (one.model, one.task) == (cell.model, cell.task))
    _fail(store, work, cell, f"task '{cell.task}': the model can process none of its samples; {first.description}")


def _fail(store: Store, work: Work, cell: Cell, reason: str) -> None:
    samples = len(work.samples_for(cell))
    store.fail(cell.id, {**cell.names, "samples": samples, "kind": "failed", "reason": reason})


def _readers(works: Mapping[str, Work]) -> dict[str, bool]:
    """Return for every strategy whether any of its stages looks at the question."""
    pairs = [pair for work in works.values() for pair in zip(work.arms, work.plans, strict=True)]
    return {
        arm.named.name: any(
            not stage.blind for one, plan in pairs if one.named.name == arm.named.name for stage in plan.typical
        )
        for arm, _ in pairs
    }


def _manifest(
    resolved: Resolved, works: Mapping[str, Work], registry: Registry, prints: Mapping[str, str]
) -> dict[str, Any]:
    """Return the content of run.json.

    Args:
        resolved: The run.
        works: Its works, by model.
        registry: The plug-ins.
        prints: The fingerprints of the samples, by task.
    """
    spec = resolved.spec
    reach = {cell.id: len(work.samples_for(cell)) for work in works.values() for cell in work.cells.values()}
    first = next(iter(works.values()))
    calibrated = [one for work in works.values() for one in work.calibrated.values()]
    return {
        "schema_version": SCHEMA_VERSION,
        "spec": spec.to_json(),
        **pack_cells([cell for work in works.values() for cell in work.cells.values()], reach),
        "tasks": {
            name: {
                "unit_rule": task.unit_rule,
                **({"graded": True} if task.graded else {}),
                "identity": task.identity,
                "samples": len(first.samples[name]),
                "of": len(first_samples(task, None, spec.held_out)),
                "asked": prints[name],
                **({"frames": str(task.sampling)} if task.sampling else {}),
            }
            for name, task in first.tasks.items()
        },
        "seed_scopes": {
            arm.named.name: arm.named.strategy.seed_scope for arm in first.arms if arm.named.strategy.stochastic
        },
        "released_dtypes": {
            name: one.strategy.released_dtype
            for name, one in resolved.strategies.items()
            if one.strategy.released_dtype
        },
        **({"reads_question": _readers(works)} if spec.turns > 1 else {}),
        **({"unregistered": resolved.unregistered} if resolved.unregistered else {}),
        **({"calibration": write_calibrations(calibrated)} if calibrated else {}),
        **({"plan": plan} if (plan := plan_looks(spec, first.samples)) else {}),
        "models": {
            name: {
                "identity": work.model.identity,
                "prompt": work.model.prompt,
                "attention": work.model.attention,
                "device": work.model.device,
                "decoder_layers": work.model.depth,
                "decoding": "greedy",
                "checkpoint_asks_for": work.model.generation_options,
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
        "notes": list(
            dict.fromkeys(note for work in works.values() for note in (*work.model.notes, *_remarks(work.tasks)))
        ),
    }


def _remarks(tasks: Mapping[str, Task]) -> list[str]:
    return [f"{name}: {remark}" for name, task in tasks.items() for remark in task.remarks]
