"""The command that resumes a run, as messages name it. A user pastes it, so it names all that `tokenbench resume` asks for."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from tokenbench.errors import UsageError
from tokenbench.store.directory import Store
from tokenbench.store.run_json import read_manifest
from tokenbench.store.spec import Spec
from tokenbench.store.trust import unnamed_models

if TYPE_CHECKING:
    from pathlib import Path

    from tokenbench.comparison import Comparison
    from tokenbench.registry.plugins import Registry
    from tokenbench.store.run import Run

__all__ = ["describe_unfinished", "naming_options", "unfinished", "warn_unfinished"]

MOST = 3
"""The largest number of unfinished cells that are named."""


def naming_options(spec: Spec, files: Iterable[str | Path], registry: Registry) -> str:
    """Return the options with which a later command names again what only the run directory names.

    Args:
        spec: The settings of the run.
        files: The single-file plug-ins of the run.
        registry: The plug-ins that may register models.

    Returns:
        Text such as `` --plugin my.py --data pope=/data/pope``, with a leading space; empty if there is nothing to name.
    """
    options = [
        *(("--plugin", str(file)) for file in files),
        *(("--tasks-dir", folder) for folder in spec.definitions),
        *(("--data", text) for text in spec.data),
        *(("--models", name) for name in unnamed_models(spec.models, (), registry)),
    ]
    return "".join(f" {option} {shlex.quote(value)}" for option, value in options)


def unfinished(run: Run) -> UsageError:
    """Return the error for a run that does not yet hold anything to compare or to rate, with the command that goes on with it."""
    from tokenbench.registry.plugins import registry

    cells = run.manifest["cells"]
    failed = sum(failure["kind"] == "failed" for failure in run.failures())
    spec, folder = Spec.from_json(run.manifest["spec"]), shlex.quote(str(run.folder))
    named = naming_options(spec, run.manifest["plugin_files"], run._registry or registry())
    if not failed:
        return UsageError(f"{run.folder} has no finished cell yet", f"run it first: tokenbench resume {folder}{named}")
    return UsageError(
        f"{run.folder} has nothing to compare: {failed} of its {len(cells)} cells failed",
        f"tokenbench status {folder} says why; when the cause is fixed: tokenbench resume {folder} --retry-failed{named}",
    )


def describe_unfinished(folders: Iterable[Path]) -> Iterator[str]:
    """Yield a sentence for every run directory with cells that have neither finished nor failed."""
    for folder in folders:
        store, cells = Store.open(folder), read_manifest(folder)["cells"]
        settled = store.finished_cells() | store.failed_cells()
        if not (lacking := [cell for cell in cells if cell["id"] not in settled]):
            continue
        names = [f"{one['strategy']} at {one['budget']} ({one['task']})" for one in lacking[:MOST]]
        more = [f"{len(lacking) - MOST:,} more"] if lacking[MOST:] else []
        verb, them = ("is", "it") if len(lacking) == 1 else ("are", "them")
        yield (
            f"{folder}: {len(lacking):,} of {len(cells):,} cells {verb} not finished: {', '.join([*names, *more])}. "
            f"tokenbench resume {shlex.quote(str(folder))} finishes {them}"
        )


def warn_unfinished(comparison: Comparison, folders: Iterable[Path]) -> Comparison:
    """Return the comparison with the sentences of `describe_unfinished` before its own warnings."""
    return replace(comparison, warnings=(*describe_unfinished(folders), *comparison.warnings))
