"""RUN/run.json: the manifest of a run, changed by one process at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenbench.errors import UsageError
from tokenbench.store import files
from tokenbench.store.foreign import check_shape, read_json
from tokenbench.store.manifest import Manifest, Versioned

__all__ = ["LOCK", "SCHEMA_VERSION", "add_look", "is_run", "read_manifest", "write_manifest"]

SCHEMA_VERSION = 3
NAME, LOCK = "run.json", "run.lock"
PATIENCE = 10.0
"""Seconds to wait for the lock, which is held for moments only."""


def is_run(folder: Path) -> bool:
    """Return whether a folder holds a run."""
    return files.is_file(folder / NAME, folder)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the content of run.json.

    Args:
        folder: The run directory.

    Raises:
        MachineError: The file cannot be read, or does not have the shape of a manifest.
        UsageError: Another version of TokenBench wrote it.
    """
    path, hint = folder / NAME, "restore it, or start a new run elsewhere"
    manifest: dict[str, Any] = read_json(path, folder, Versioned, hint)
    version = manifest["schema_version"]
    if version > SCHEMA_VERSION:
        raise UsageError(f"{path} was written by a newer TokenBench (schema {version})", "upgrade tokenbench")
    if version < SCHEMA_VERSION:
        raise UsageError(
            f"{path} was written by an older TokenBench (schema {version})", "run it again in another folder"
        )
    check_shape(manifest, path, Manifest, hint)
    return manifest


def write_manifest(folder: Path, manifest: dict[str, Any], looks: list[dict[str, Any]] | None = None) -> None:
    """Write run.json, and keep the looks that it already records, unless looks are given."""
    if looks is not None:
        _write(folder, {**manifest, "looks": looks})
        return
    with _locked(folder):
        looks = read_manifest(folder).get("looks", []) if is_run(folder) else []
        _write(folder, {**manifest, "looks": looks})


def add_look(folder: Path, unless: Callable[[list[dict[str, Any]]], bool], look: dict[str, Any]) -> None:
    """Record in run.json that verdicts were shown.

    Args:
        folder: The run directory.
        unless: Takes the looks recorded so far, and returns whether the new one is to be skipped.
        look: The look to record.

    Raises:
        OSError: The file cannot be written.
    """
    with _locked(folder):
        manifest = read_manifest(folder)
        looks = manifest.get("looks", [])
        if not unless(looks):
            _write(folder, {**manifest, "looks": [*looks, look]})


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    from filelock import FileLock

    files.check_lock(folder / LOCK, folder)
    with FileLock(folder / LOCK, timeout=PATIENCE):
        yield


def _write(folder: Path, manifest: dict[str, Any]) -> None:
    files.write_atomically(folder / NAME, json.dumps(manifest, indent=1).encode(), folder)
