"""RUN/workers.json: the workers that a run has on other machines, for `status` and for whoever resumes the run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tokenbench.errors import MachineError
from tokenbench.store import files
from tokenbench.store.foreign import read_json
from tokenbench.store.manifest import Name

__all__ = ["WorkerState", "forget_workers", "read_workers", "write_workers"]

NOTE = "workers.json"


@dataclass(frozen=True)
class WorkerState:
    """A worker on another machine."""

    name: str
    """Its name where it runs, such as the id of its job."""
    state: str
    """What it does there, in the words of the cluster, such as `PENDING`."""
    reason: str = ""
    """Why it waits; empty if it does not."""
    place: str = ""
    """The machine that it runs on; empty if it waits for one."""
    log: str = ""
    """The file with its output; empty if there is none yet."""


class _Worker(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    name: Name
    state: Name
    reason: Name
    place: Name
    log: Name


class _Note(BaseModel):
    """The content of workers.json."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)
    time: Annotated[float, Field(ge=0)]
    """When it was written, in seconds since 1970."""
    workers: list[_Worker]


def write_workers(folder: Path, workers: Iterable[WorkerState]) -> None:
    """Write down what the workers of a run do now.

    Args:
        folder: The run directory.
        workers: All of them.
    """
    note = {"time": time.time(), "workers": [asdict(one) for one in workers]}
    files.write_atomically(folder / NOTE, json.dumps(note).encode(), folder)


def read_workers(folder: Path) -> tuple[float, list[WorkerState]]:
    """Return when workers were last heard of, in seconds since 1970, and what they did; (0, []) if there are none.

    A run directory may come from anybody: this says what its last process wrote, which nobody should act upon.
    """
    try:
        note = read_json(folder / NOTE, folder, _Note, "")
    except MachineError:  # there is none, or no run wrote it
        return 0.0, []
    fields = _Worker.model_fields
    return note["time"], [WorkerState(**{name: one[name] for name in fields}) for one in note["workers"]]


def forget_workers(folder: Path) -> None:
    """Remove what was written down, once the workers have ended."""
    files.remove(folder / NOTE, folder)
