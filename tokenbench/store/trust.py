"""What a run directory may make this process read.

A run directory may come from anybody. It decides what is run, but not which code, data folders or models of this machine are
opened: the user names these again.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tokenbench.errors import UsageError
from tokenbench.store.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tokenbench.registry.plugins import Registry
    from tokenbench.store.run import Run

__all__ = ["IMPORTED", "check_definitions", "check_models", "check_plugins", "replace_data", "unnamed_models"]

IMPORTED = "imported"
"""The name of the suite of runs whose questions only another tool knows."""


def check_definitions(spec: Spec, definitions: Iterable[str]) -> None:
    """Check that the user named every folder of task definitions of a run, since these folders contain code.

    Args:
        spec: The settings of the run.
        definitions: The folders that the user named.

    Raises:
        UsageError: The run uses a folder that the user did not name.
    """
    if strange := set(spec.definitions) - set(definitions):
        raise UsageError(
            f"the run's task definitions in {', '.join(sorted(strange))} contain code, which is loaded only from folders that you trust",
            "if you trust this one, name it with --tasks-dir",
        )


def replace_data(spec: Spec, data: Sequence[str]) -> Spec:
    """Return the settings of a run with the data folders that the user named in place of the run's own.

    Args:
        spec: The settings of the run.
        data: `TASK=FOLDER` texts from the user.

    Raises:
        UsageError: The run reads a data folder that the user did not name, or its questions are those of another tool.
    """
    from tokenbench.registry.suites import data_folders

    if spec.suite == IMPORTED:
        raise UsageError(
            "another tool asked the questions of this run, and its logs hold no pictures",
            "import it with --data TASK=FOLDER, which finds them",
        )
    named = data_folders(data)
    strange = [text for text in spec.data if text.partition("=")[0] not in named]
    if strange:
        raise UsageError(
            f"only the run directory, which may come from others, names the data folders {', '.join(strange)}",
            f"name them again to have them read: {' '.join(f'--data {text}' for text in strange)}",
        )
    tasks = {text.partition("=")[0] for text in spec.data}
    return replace(spec, data=tuple(f"{task}={folder}" for task, folder in named.items() if task in tasks))


def check_models(run: Run, models: Iterable[str], registry: Registry) -> None:
    """Check that every model of a run is registered, or named by the user.

    Args:
        run: The run.
        models: The models that the user named.
        registry: The plug-ins that may register models.

    Raises:
        UsageError: The run uses another model.
    """
    if strange := unnamed_models(run.spec().models, models, registry):
        raise UsageError(
            f"only the run directory, which may come from others, names the models {', '.join(strange)}",
            f"name them again to have them read: {' '.join(f'--models {name}' for name in strange)}",
        )


def check_plugins(run: Run, files: Iterable[str | Path]) -> dict[str, Path]:
    """Check that the user named every single-file plug-in that a run was made with, since these files contain code.

    Args:
        run: The run.
        files: The plug-in files that the user named.

    Returns:
        The files that the user named, by the names of their modules.

    Raises:
        UsageError: A file is missing.
    """
    from tokenbench.registry.plugins import file_module

    named = {Path(file).name: Path(file) for file in files}
    if lacking := [file for file in run.manifest["plugin_files"] if Path(file).name not in named]:
        raise UsageError(
            f"{run.folder} was run with plug-in files, which must be named again",
            " ".join(f"--plugin {file}" for file in lacking),
        )
    return {file_module(file): file for file in named.values()}


def unnamed_models(models: Iterable[str], named: Iterable[str], registry: Registry) -> list[str]:
    """Return the models of a run that neither a plug-in nor the user names. The disk is not read.

    Args:
        models: The models of the run.
        named: The models that the user named.
        registry: The plug-ins that may register models.
    """
    registered, places = registry.names("backbones"), {os.path.abspath(name) for name in named}
    return [name for name in models if name not in registered and os.path.abspath(name) not in places]
