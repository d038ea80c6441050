"""Where a task's rows come from: a folder the user names, or lmms-eval's own source on the hub or in its cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from tokenbench.errors import MachineError, UsageError
from tokenbench.models.hub import HubError, from_hub
from tokenbench_suites.lmms.catalogue import CATALOGUE

__all__ = ["Splits", "load_folder", "load_source", "missing_data", "read_folder"]

# The rest is lmms-eval's own, or a token, which is demanded in vain where nobody is logged in: public data needs none.
PASSED_ON = ("data_files", "data_dir", "revision")
Splits = dict[str, Any]  # split -> datasets.Dataset


def read_folder(task: str, folder: Path, config: str | None) -> Splits:
    """Read the splits in a folder.

    The folder may be as `hf download` or `save_to_disk` leave it; it may hold parquet, arrow, JSON or CSV files or be
    an image folder; or it may have `questions.parquet` (or .json, .csv) beside a folder `videos`.

    Args:
        task: The name of the task, for errors.
        folder: The folder.
        config: The configuration of the data set that the task wants. A subfolder of that name is read in place of the
            folder.

    Raises:
        MachineError: If the data cannot be read.
    """
    import datasets

    if folder.is_file():
        raise MachineError(
            f"the data of task '{task}' is the file {folder}, not a folder", "give the folder that holds it"
        )
    _refuse_special_files(task, folder)
    try:
        if (folder / "dataset_dict.json").exists() or (folder / "state.json").exists():
            loaded = datasets.load_from_disk(str(folder))
            return dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
        if file := next(iter(sorted(folder.glob("questions.*"))), None):  # beside videos, which are found by name
            kind = {".jsonl": "json", ".parquet": "parquet", ".json": "json", ".csv": "csv"}[file.suffix]
            return dict(datasets.load_dataset(kind, data_files=str(file)))
        if config and (folder / config).is_dir():
            return dict(_load(folder / config))
        named = config in datasets.get_dataset_config_names(str(folder)) if config else False
        return dict(_load(folder, config if named else None))
    except Exception as error:  # datasets raises anything for a folder it cannot read
        raise MachineError(
            f"the data of task '{task}' in {folder} cannot be read: {_line(error)}", _hint(task)
        ) from error


load_folder = lru_cache(read_folder)
"""The same for the many tasks that read one folder."""


def _refuse_special_files(task: str, folder: Path) -> None:
    """Refuse pipes and devices, from which the library would read for ever."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if path.exists() and not path.is_file():
                raise MachineError(f"the data of task '{task}': {path} is not a regular file", "remove it")


def load_source(task: str, path: str, config: str | None, arguments: Mapping[str, Any]) -> Splits:
    """Read the splits of a data set on the hub, from the cache if they are there.

    Raises:
        MachineError: If the data is neither in the cache nor can be downloaded.
    """
    import datasets

    kept = {key: value for key, value in arguments.items() if key in PASSED_ON}
    try:
        if arguments.get("load_from_disk"):
            return dict(datasets.load_from_disk(path))
        return dict(from_hub(datasets.load_dataset, path, config, **kept))
    except HubError as error:
        raise missing_data(task, path, str(error)) from error
    except Exception as error:  # from HTTP errors to the library's own
        raise missing_data(task, path, _line(error)) from error


def missing_data(task: str, path: str, reason: str) -> MachineError:
    """Return the error for data that is not here, which says what to download and how big it is."""
    return MachineError(
        f"the data of task '{task}' ({path}) is not available locally and could not be downloaded: {reason}",
        _hint(task, path),
    )


def choose_split(splits: Splits, wanted: str, task: str, where: str) -> Any:
    """Return the split that a task asks for, or the only one that there is.

    Raises:
        UsageError: If there are several splits, none of that name.
    """
    if wanted in splits:
        return splits[wanted]
    if len(splits) == 1:
        return next(iter(splits.values()))
    raise UsageError(
        f"the data of task '{task}' in {where} has no split '{wanted}'", f"its splits are {', '.join(splits)}"
    )


def _load(folder: Path, config: str | None = None) -> Any:
    import datasets

    return datasets.load_dataset(str(folder), config)


def _hint(task: str, path: str = "") -> str:
    entry = CATALOGUE.get(task)
    if entry is None:
        what = f"hf download {path} --repo-type dataset" if path else "see the task's YAML"
        return f"{what} --local-dir FOLDER, then give --data {task}=FOLDER" if path else what
    if "/" not in entry.source.partition(" ")[0]:
        return f"put these into a folder: {entry.source} ({entry.size}), then give --data {task}=FOLDER"
    return f"hf download {entry.source} --repo-type dataset --local-dir FOLDER ({entry.size}), then give --data {task}=FOLDER"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
