"""`tokenbench merge`: a run directory of the answers that several runs share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tokenbench.contract.cells import IDENTITY
from tokenbench.errors import UsageError
from tokenbench.store import files
from tokenbench.store.conditions import join_words
from tokenbench.store.directory import Store
from tokenbench.store.joined import sources_of
from tokenbench.store.joined_manifest import MERGED, describe_join, join_manifests, joined_id
from tokenbench.store.joining import Join, Source, join
from tokenbench.store.left_out import LeftOuts
from tokenbench.store.looking import join_looks
from tokenbench.store.new_folder import check_new, new_folder
from tokenbench.store.record_file import MOST_PACKED, RECORD, to_bytes
from tokenbench.store.run_json import write_manifest

if TYPE_CHECKING:
    from tokenbench.store.run import Run

__all__ = ["check_unmerged", "merge_runs"]

ONE = {
    "until": "their looks were planned for each of them alone",
    "match": "the same budget means a different amount of work in each",
    "held_out": "different samples were held out to match the budgets",
    "turns": "the same question was asked of different tokens",
}
"""Settings that a run has one of, and why runs with others cannot be one."""
WRITER = "merged.0"
"""The name of the process that wrote a merged run: always the same, so that merging twice gives the same bytes."""


def merge_runs(runs: Sequence[Run], folder: Path) -> list[str]:
    """Write a new run directory, which appears whole or not at all.

    Args:
        runs: The runs, of which the first one's vanilla is the reference.
        folder: The folder to make; it may exist if it is empty.

    Returns:
        The sentences that a reader of the merged run has to know, which its run.json holds as well.

    Raises:
        UsageError: The runs cannot be one run; the message says why.
        MachineError: The folder cannot be written, or a run cannot be read.
    """
    check_new(folder, "-o")
    _check_settings(runs)
    sources = sources_of(runs, [_name(run) for run in runs])
    joined = join(sources)
    looks, order = join_looks([run._seen for run in runs], [run.manifest for run in runs], joined.samples)
    joined.samples.update(order)
    said = describe_join(sources, joined)
    said += joined.flips if joined.apart else []
    said += [text for run, source in zip(runs, sources, strict=True) if (text := _describe_unfinished(run, source))]
    if said:
        said.insert(0, ", ".join(f"{source.mark} is {source.label}" for source in sources) + ".")
    with new_folder(folder, "-o") as made:
        store = Store(made)
        store.make_folders()
        cells = _write_cells(store, runs, sources, joined)
        _write_left_out(made, runs, joined)
        manifest = join_manifests(sources, joined)
        manifest["cells"] = [{**cell, "samples": cells[cell["id"]]} for cell in manifest["cells"]]
        manifest["cells"] += _write_failures(store, runs, sources, joined)
        manifest["notes"] = [*said, *manifest["notes"]]
        manifest[MERGED] = [
            {**parent, **_digest_answers(run)} for parent, run in zip(manifest[MERGED], runs, strict=True)
        ]
        write_manifest(made, manifest, looks)
    return said


def check_unmerged(manifest: Mapping[str, Any], folder: Path) -> None:
    """Check that a run may be resumed or extended.

    Raises:
        UsageError: It was merged from other runs, whose answers it holds.
    """
    if parents := manifest.get(MERGED):
        names = join_words(parent["name"] for parent in parents)
        raise UsageError(
            f"{folder} was merged from {names}, and holds no answers of its own: it cannot be resumed or extended",
            "resume or extend these runs, and merge them again",
        )


def _check_settings(runs: Sequence[Run]) -> None:
    for name, why in ONE.items():
        values = [run.manifest["spec"].get(name) or {"held_out": 0, "turns": 1}.get(name, "") for run in runs]
        if len(set(values)) > 1 or (name == "until" and values[0]):
            shown = ", ".join(f"{value or 'none'} in {run.folder}" for value, run in zip(values, runs, strict=True))
            raise UsageError(
                f"the runs cannot be merged, since {why} ({name.replace('_', ' ')}: {shown})",
                "compare them instead, which writes nothing: tokenbench compare "
                + " ".join(str(run.folder) for run in runs),
            )


def _name(run: Run) -> str:
    return run.folder.resolve().name


def _write_cells(store: Store, runs: Sequence[Run], sources: Sequence[Source], joined: Join) -> dict[str, int]:
    """Write the cells that are taken, and return the number of records of each."""
    counts: dict[str, int] = {}
    for (at, key), name in joined.cells.items():
        cell, theirs = sources[at].cells[key], runs[at]._store
        [records] = theirs.columns([cell["id"]], RECORD.names)
        summary = theirs.summary(cell["id"])
        wanted = joined.samples[key[0], key[4]]
        table = _select(records, wanted)
        if not len(table):
            continue
        own = {**summary, **dict(zip(IDENTITY, (key[0], name, *key[2:]), strict=True))}
        if table is not records:
            own |= {"official": {}, "score": sum(table["score"].to_pylist()) / len(table), "samples": len(table)}
        new = joined_id(cell["id"], key[1], name)
        own["id"] = new
        for ending, content in (("json", json.dumps(own, indent=2).encode()), ("parquet", to_bytes(table))):
            files.write_atomically(store.folder / "cells" / f"{new}.{ending}", content, store.folder)
        counts[new] = len(table)
    return counts


def _select(records: pa.Table, wanted: Sequence[str]) -> pa.Table:
    """Return the records of samples in their order; the same table if it holds these and no others."""
    there = records["sample"].to_pylist()
    if there == list(wanted):
        return records
    place = {sample: at for at, sample in enumerate(there)}
    return records.take(np.array([place[sample] for sample in wanted if sample in place], dtype=np.int64))


def _write_failures(store: Store, runs: Sequence[Run], sources: Sequence[Source], joined: Join) -> list[dict[str, Any]]:
    """Record the failures of cells that no run holds, and return these cells."""
    held = {
        key
        for source in sources
        for key in {tuple(row) for row in source.rows[list(IDENTITY)].drop_duplicates().to_numpy().tolist()}
    }
    cells: dict[str, dict[str, Any]] = {}
    for run, source in zip(runs, sources, strict=True):
        for failure in run.failures():
            key = tuple(failure[name] for name in IDENTITY)
            if key in held or (failure["model"], failure["task"]) not in joined.samples:
                continue
            cell = source.cells[key]
            if cell["id"] not in cells:
                cells[cell["id"]] = {**cell, "samples": failure.get("samples", 1)}
                store.fail(cell["id"], failure)
    return list(cells.values())


def _write_left_out(folder: Path, runs: Sequence[Run], joined: Join) -> None:
    left_out = {
        one: None for run in runs for one in run._store.left_out.all() if (one.model, one.task) in joined.samples
    }
    if left_out:
        LeftOuts(folder, WRITER).add(left_out)


def _describe_unfinished(run: Run, source: Source) -> str:
    """Return a sentence on the cells of a run that have neither answers nor a failure; an empty text if there are none."""
    failed = {tuple(failure[name] for name in IDENTITY) for failure in run.failures()}
    there = {cell["id"] for cell in run._finished_cells()}
    missing = sum(cell["id"] not in there and key not in failed for key, cell in source.cells.items())
    return (
        f"{source.mark} was not finished: {missing} of its {len(source.cells)} cells have no answers."
        if missing
        else ""
    )


def _digest_answers(run: Run) -> dict[str, Any]:
    """Return a digest of the answers of a run, by which its directory is known again."""
    cells = sorted(run._store.finished_cells() & {cell["id"] for cell in run.manifest["cells"]})
    digest = hashlib.sha256()
    for cell in cells:
        digest.update(files.read(run.folder / "cells" / f"{cell}.parquet", run.folder, MOST_PACKED))
    return {"cells": len(cells), "answers": digest.hexdigest()[:20]}
