"""A lock that lets one process at a time coordinate a run, and is released when the process dies; with a note on the holder."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from tokenbench.errors import MachineError
from tokenbench.store import files
from tokenbench.store.foreign import read_json
from tokenbench.store.manifest import Name

__all__ = ["holder", "run_lock"]

LOCK, NOTE = "lock", "running.json"
PATIENCE = 2.0  # seconds; `holder` takes the lock for a moment


class _Note(BaseModel):
    """The content of running.json."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)
    host: Name
    pid: int
    started: float
    """Seconds since 1970."""
    done: Annotated[int, Field(ge=0)]
    """The number of answers that the run had at the start."""


@contextmanager
def run_lock(folder: Path, done: int) -> Iterator[None]:
    """Hold the lock of a run.

    Args:
        folder: The run directory.
        done: The number of answers that the run has now, from which other processes compute its speed.

    Raises:
        MachineError: Another process holds the lock.
    """
    from filelock import FileLock, Timeout

    files.check_lock(folder / LOCK, folder)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        who = _note(folder)
        by = f" by process {who['pid']} on {who['host']}" if who else ""
        raise MachineError(f"{folder} is being run{by}", "wait for it, or choose another folder with -o") from None
    try:
        note = {"host": socket.gethostname(), "pid": os.getpid(), "started": time.time(), "done": done}
        files.write_atomically(folder / NOTE, json.dumps(note).encode())
        try:
            yield
        finally:
            files.remove(folder / NOTE, folder)
    finally:
        lock.release()


def holder(folder: Path) -> dict[str, Any] | None:
    """Return who runs a run directory now.

    Returns:
        A dict of host, pid, started (seconds since 1970) and done (answers at the start), which is empty if the holder has left no
        note; None if nobody runs it.
    """
    from filelock import FileLock, Timeout

    if not files.is_file(folder / LOCK, folder):
        return None
    files.check_lock(folder / LOCK, folder)
    try:
        with FileLock(folder / LOCK, timeout=0):
            return None
    except Timeout:
        return _note(folder) or {}
    except OSError:  # a folder that only its owner may write to
        return _note(folder)


def _note(folder: Path) -> dict[str, Any] | None:
    try:
        note: dict[str, Any] = read_json(folder / NOTE, folder, _Note, "")
    except MachineError:  # it does not exist yet, or no run wrote it
        return None
    return {name: note[name] for name in _Note.model_fields}
