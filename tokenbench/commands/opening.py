"""How commands open a run directory: with what the user names, for the directory may come from anybody."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tokenbench.commands.options import absolute, flat, named_data

if TYPE_CHECKING:
    from tokenbench.contract.report import Report
    from tokenbench.registry.plugins import Registry
    from tokenbench.store.run import Run
    from tokenbench.store.spec import Spec

__all__ = ["chosen_writers", "naming_options", "opened"]


def opened(folder: Path, named: Mapping[str, Sequence[Sequence[str]]], registry: Registry | None = None) -> Run:
    """Open a run directory as a command's options say.

    Args:
        folder: The run directory.
        named: The options by their names. `tasks_dir` and `data` say which folders that the run names may be read.
        registry: Where the run's suite is found; everything installed unless it is given.

    Returns:
        The run.

    Raises:
        UsageError: There is no run in the folder, or `data` is malformed.
        MachineError: A folder that is named is not there.
    """
    from tokenbench.store.run import Run

    return Run.open(folder, registry, absolute(flat(named.get("tasks_dir", ()))), named_data(named.get("data", ())))


def chosen_writers(formats: Sequence[str], registry: Registry) -> list[Report]:
    """Make the report writers of these names, before anything is computed for them. Raises UsageError for an unknown one."""
    return [registry.get("reports", name)() for name in formats]


def naming_options(spec: Spec, registry: Registry) -> str:
    """Write the options with which a later command names again what only the run directory would name.

    Returns:
        Such as `` --plugin my.py --data pope=/data/pope``, with a leading space; empty if there is nothing to name.
    """
    from tokenbench.store.run import unnamed

    options = [
        *(("--plugin", str(file)) for file in registry.files),
        *(("--tasks-dir", folder) for folder in spec.definitions),
        *(("--data", text) for text in spec.data),
        *(("--models", name) for name in unnamed(spec.models, (), registry)),
    ]
    return "".join(f" {option} {shlex.quote(value)}" for option, value in options)
