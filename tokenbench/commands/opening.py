"""How commands open a run directory. It may come from anybody, so the user names again what it may read."""

from __future__ import annotations

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

__all__ = ["check_distinct", "make_writers", "open_run", "restrict_downloads", "with_details"]


def open_run(folder: Path, named: Mapping[str, Sequence[Sequence[str]]], registry: Registry | None = None) -> Run:
    """Open a run directory with the options of a command.

    Args:
        folder: The run directory.
        named: The options by name. `tasks_dir` and `data` give the folders of the run that may be read.
        registry: The plug-ins in which the run's suite is looked up; by default, all that are installed.

    Raises:
        UsageError: There is no run in the folder, or `data` is malformed.
        MachineError: A folder does not exist.
    """
    from tokenbench.store.run import Run

    return Run.open(folder, registry, absolute(flat(named.get("tasks_dir", ()))), named_data(named.get("data", ())))


def check_distinct(folders: Sequence[Path]) -> None:
    """Check that no run is given twice.

    Raises:
        UsageError: One is.
    """
    places = [folder.resolve() for folder in folders]
    for at, place in enumerate(places):
        if place in places[:at]:
            raise UsageError(f"{folders[at]} is given twice", "give every run once")


def with_details(formats: Sequence[str], details: bool) -> list[str]:
    """The names of the report formats, with the whole text report in place of the short one if details are wanted."""
    if not details:
        return list(formats)
    whole = ["details" if name == "terminal" else name for name in formats]
    return whole if "details" in whole else [*whole, "details"]


def make_writers(formats: Sequence[str], registry: Registry) -> list[Report]:
    """Make the report writers of these names, so that an unknown name is reported before anything is computed.

    Raises:
        UsageError: A name is unknown.
    """
    return [registry.get("reports", name)() for name in formats]


def restrict_downloads(spec: Spec, named: Sequence[str], registry: Registry) -> AbstractContextManager[None]:
    """Forbid downloads if only the run directory names one of its models.

    Args:
        spec: The settings of the run.
        named: The models that the user named.
        registry: The plug-ins that register models.

    Returns:
        A context, in which nothing is downloaded if there is such a model.

    Raises:
        UsageError: Such a model is a folder, or is not in the local cache.
    """
    from tokenbench.models.offline import offline
    from tokenbench.models.source import is_cached
    from tokenbench.store.trust import unnamed_models

    strange = unnamed_models(spec.models, named, registry)
    if foreign := [name for name in strange if not is_cached(name)]:
        raise UsageError(
            f"only the run directory, which may come from others, names the models {', '.join(foreign)}",
            f"name them again to have them read or downloaded: {' '.join(f'--models {name}' for name in foreign)}",
        )
    return offline() if strange else nullcontext()
