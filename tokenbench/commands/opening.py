"""How commands open a run directory: with what the user names, for the directory may come from anybody."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from tokenbench.commands.options import absolute, flat, named_data
from tokenbench.errors import UsageError

if TYPE_CHECKING:
    from tokenbench.contract.report import Report
    from tokenbench.registry.plugins import Registry
    from tokenbench.store.run import Run
    from tokenbench.store.spec import Spec

__all__ = ["chosen_writers", "fetching", "naming_options", "opened"]


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


def fetching(spec: Spec, named: Sequence[str], registry: Registry) -> AbstractContextManager[None]:
    """Allow downloads for a run directory, unless a model is named by the directory alone.

    Args:
        spec: What the run directory holds.
        named: The models that the user names again.
        registry: Where names of models are looked up.

    Returns:
        A context in which nothing is downloaded, if a model is named by the directory alone.

    Raises:
        UsageError: If such a model is a folder, or is not in the local cache.
    """
    from tokenbench.models.offline import offline
    from tokenbench.models.source import is_cached
    from tokenbench.store.run import unnamed

    strange = unnamed(spec.models, named, registry)
    if foreign := [name for name in strange if not is_cached(name)]:
        raise UsageError(
            f"only the run directory, which may come from others, names the models {', '.join(foreign)}",
            f"name them again to have them read or downloaded: {' '.join(f'--models {name}' for name in foreign)}",
        )
    return offline() if strange else nullcontext()
