"""One process at a time coordinates a run directory: a lock that dies with its holder, and a note of who that is."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenbench.errors import MachineError
from tokenbench.store.files import publish

__all__ = ["held", "holder"]

LOCK, NOTE = "lock", "running.json"
PATIENCE = 2.0  # seconds; `holder` takes the lock for a moment


@contextmanager
def held(folder: Path, done: int) -> Iterator[None]:
    """Hold the run. done: answers there at the start, from which others see how fast it goes on.

    Raises MachineError if another process holds it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        who = _note(folder)
        by = f" by process {who['pid']} on {who['host']}" if who else ""
        raise MachineError(f"{folder} is being run{by}", "wait for it, or name another folder with -o") from None
    try:
        note = {"host": socket.gethostname(), "pid": os.getpid(), "started": time.time(), "done": done}
        publish(folder / NOTE, json.dumps(note).encode())
        yield
    finally:
        (folder / NOTE).unlink(missing_ok=True)
        lock.release()


def holder(folder: Path) -> dict[str, Any] | None:
    """Who runs it now: host, pid, started (seconds since 1970) and done; None if nobody does."""
    from filelock import FileLock, Timeout

    if not (folder / LOCK).exists():
        return None
    try:
        with FileLock(folder / LOCK, timeout=0):
            return None
    except Timeout:
        return _note(folder) or {}
    except OSError:  # a folder that only its owner may write to
        return _note(folder)


def _note(folder: Path) -> dict[str, Any] | None:
    try:
        note = json.loads((folder / NOTE).read_text())
        return {
            "host": str(note["host"]),
            "pid": int(note["pid"]),
            "started": float(note["started"]),
            "done": int(note["done"]),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None
