"""Suites by the names that users write: `image`, or with names of tasks, `lmms:pope,lmms:mme`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tokenbench.contract.sampling import DEFAULT_SAMPLING, FrameSampling
from tokenbench.contract.suite import Suite, SuiteRequest, Task
from tokenbench.errors import MachineError, TokenBenchError, UsageError, brief, unknown
from tokenbench.registry.plugins import Registry

__all__ = ["absolute_data", "absolute_folders", "data_folders", "name_files", "resolve_suite", "suite_alone"]


def resolve_suite(
    suite: str | Suite,
    tasks: Sequence[str],
    registry: Registry,
    data: Sequence[str] = (),
    definitions: Sequence[str] = (),
    sampling: FrameSampling = DEFAULT_SAMPLING,
) -> tuple[Suite, tuple[Task, ...]]:
    """Return a suite and the tasks that were chosen.

    Args:
        suite: An object, or names of suites, separated by commas, each with an optional task name after a colon.
        tasks: The names of the tasks; empty for all.
        registry: The plug-ins that register suites.
        data: `TASK=FOLDER` texts.
        definitions: Folders of task definitions.
        sampling: Which frames of clips are shown.

    Raises:
        UsageError: A suite or task is unknown, or a suite cannot be made.
        MachineError: A folder does not exist.
    """
    if isinstance(suite, Suite):
        if data or definitions:
            raise UsageError(f"suite '{suite.name}' is an object, which takes no {'data' if data else 'tasks_dir'}")
        suite = _check(suite.name, suite)
    else:
        parts = _split_names(suite).items()
        suite = _join(suite, [_make(name, named, registry, data, definitions, sampling) for name, named in parts])
    by_name = {task.name: task for task in suite.tasks}
    for key in data_folders(data):
        if not any(key in (name, name.partition("_")[0]) for name in by_name):
            raise unknown(f"task of suite '{suite.name}' in --data", key, by_name)
    for task in tasks:
        if task not in by_name:
            raise unknown(f"task of suite '{suite.name}'", task, by_name)
    return suite, tuple(by_name[task] for task in dict.fromkeys(tasks)) or suite.tasks


def name_files(suite: str, data: Sequence[str], registry: Registry) -> tuple[str, tuple[str, ...]]:
    """Return suites and data with names in the place of files: `mine.csv` is the task `mine` of the suite `csv`.

    A suite that is named like the ending of a file reads such files. A folder stands for the only such file in it.

    Args:
        suite: Names of suites or files, separated by commas. What follows a colon stays as it is.
        data: `TASK=FOLDER` texts.
        registry: The plug-ins that register suites.

    Returns:
        The names of suites, and the data with the files.

    Raises:
        UsageError: A file does not exist or has another ending, or a folder holds no such file or several.
    """
    names, files = [], list(data)
    for part in map(str.strip, suite.split(",")):
        path, colon, settings = part.partition(":")
        file = _find_file(path, registry) if path not in registry.names("suites") else None
        if file is None:
            names.append(part)
            continue
        task = re.sub(r"[^\w.-]", "-", file.stem)
        names.append(f"{file.suffix[1:].lower()}:{task}{colon}{settings}")
        files.append(f"{task}={file}")
    return ",".join(names), tuple(files)


def _find_file(text: str, registry: Registry) -> Path | None:
    """Return the file that a part of `--suite` names; None if it is the name of a suite."""
    endings = [name for name in registry.names("suites") if Path(text).suffix[1:].lower() == name]
    if _is(Path.is_dir, text):
        files = [file for file in sorted(Path(text).iterdir()) if file.suffix[1:].lower() in registry.names("suites")]
        if len(files) != 1:
            found = ", ".join(file.name for file in files) or "none"
            raise UsageError(f"the folder {text} must hold one table of questions, but holds {found}", "name the file")
        return files[0]
    if endings and not _is(Path.is_file, text):
        raise UsageError(f"the table {text} does not exist", "check its name, or give its folder, too")
    if not endings and Path(text).suffix and _is(Path.is_file, text):
        raise UsageError(f"{text} is not a table that can be read", "save it as .csv, .jsonl or .parquet")
    if not endings and "/" in text:
        raise UsageError(
            f"suite '{text}': there is no such file or folder", "check its name, or give the name of a suite"
        )
    return Path(text) if endings else None


def suite_alone(name: str, registry: Registry) -> Suite:
    """Make a suite without any request. It has the tasks that it has by default, possibly none."""
    return _call(name, registry.get("suites", name), SuiteRequest())


def absolute_data(data: Sequence[str]) -> tuple[str, ...]:
    """Return `TASK=FOLDER` texts that a user gave as a run stores them, with absolute folders.

    Raises:
        UsageError: A text is malformed, or a folder does not exist.
    """
    return tuple(f"{task}={folder.resolve()}" for task, folder in data_folders(data, missing=UsageError).items())


def absolute_folders(folders: Iterable[str]) -> tuple[str, ...]:
    """Return folders that a user gave as a run stores them, with absolute paths.

    Raises:
        UsageError: A folder does not exist.
    """
    paths = []
    for folder in folders:
        try:
            paths.append(str(Path(folder).resolve(strict=True)))
        except (OSError, ValueError, RuntimeError):  # a missing folder, an invalid name, a link to itself
            raise UsageError(f"the folder {folder[:200]} does not exist", "give another one") from None
    return tuple(paths)


def data_folders(data: Sequence[str], missing: type[TokenBenchError] = MachineError) -> dict[str, Path]:
    """Return the folder of each task, given `TASK=FOLDER` texts.

    Args:
        data: The texts.
        missing: The error if a folder does not exist. What a run directory names is missing on this machine; what a user has just written
            is wrong.

    Raises:
        UsageError: A text is malformed.
        TokenBenchError: A folder does not exist.
    """
    folders: dict[str, Path] = {}
    for text in data:
        task, equals, folder = text.partition("=")
        if not equals or not task or not folder:
            raise UsageError(f"--data '{text}' is not TASK=FOLDER", "write, for example, --data gqa=/data/gqa")
        if not _is(Path.is_dir, folder) and not _is(Path.is_file, folder):
            raise missing(f"the data folder {folder} of task '{task}' does not exist", "mount it, or give another one")
        folders[task] = Path(folder)
    return folders


def _is(kind: Callable[[Path], bool], name: str) -> bool:
    """Ask `Path.is_dir` or `Path.is_file` about a text that may be no name of a file at all."""
    try:
        return kind(Path(name))
    except (OSError, ValueError):
        return False


def _split_names(text: str) -> dict[str, tuple[str, ...]]:
    """Return the names of the tasks that are requested of each suite; empty for all."""
    tasks: dict[str, tuple[str, ...]] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        suite, colon, task = part.partition(":")
        if colon and not task:
            raise UsageError(f"suite '{part}': there is no task after the colon", f"write {suite}:TASK")
        tasks[suite] = (*tasks.get(suite, ()), *filter(None, (task,)))
    return tasks


def _make(
    name: str,
    named: tuple[str, ...],
    registry: Registry,
    data: Sequence[str],
    definitions: Sequence[str],
    sampling: FrameSampling,
) -> Suite:
    make = registry.get("suites", name)
    if (named or data or definitions) and not inspect.signature(make).parameters:
        option = f"':{named[0]}'" if named else "--data" if data else "--tasks-dir"
        raise UsageError(f"suite '{name}' takes no {option}", "choose among its tasks with --tasks" if named else "")
    suite = _call(name, make, SuiteRequest(named, data_folders(data), tuple(map(Path, definitions)), sampling))
    if not suite.tasks:
        raise UsageError(f"suite '{name}' has no tasks of its own", f"name them: --suite {name}:TASK")
    return suite


def _call(name: str, make: Callable[..., object], request: SuiteRequest) -> Suite:
    """Call a plug-in's function, and check that it returns a suite."""
    try:
        suite = make(request) if inspect.signature(make).parameters else make()
    except TokenBenchError:
        raise
    except (Exception, SystemExit) as error:  # a plug-in's own code may raise anything
        raise UsageError(f"suite '{name}' cannot be created: {brief(error)}") from error
    return _check(name, suite)


def _check(name: str, suite: object) -> Suite:
    """Return the suite if it keeps its contract, else raise UsageError."""
    if not isinstance(suite, Suite):
        raise UsageError(f"suite '{name}' is a {type(suite).__name__}, not a tokenbench.Suite")
    tasks = suite.tasks
    if not isinstance(tasks, tuple) or not all(isinstance(task, Task) and isinstance(task.name, str) for task in tasks):
        raise UsageError(
            f"the tasks of suite '{name}' must be tokenbench.Task objects, not {tasks!r:.80}",
            "return a Suite with a tuple of tasks",
        )
    names = [task.name for task in tasks]
    if twice := [task for task in names if names.count(task) > 1]:
        raise UsageError(f"suite '{name}' has two tasks named '{twice[0]}'", "rename one of them")
    return suite


def _join(text: str, suites: Sequence[Suite]) -> Suite:
    """Join suites into one. It has a default model only if all of them have the same one."""
    if not suites:
        raise UsageError("--suite is empty")
    if len(suites) == 1:
        return suites[0]
    tasks = tuple(task for suite in suites for task in suite.tasks)
    names = [task.name for task in tasks]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"suites '{text}' all have a task named '{name}'", "run only one of them")
    models = {suite.model for suite in suites}
    return Suite(
        text, "; ".join(suite.description for suite in suites), tasks, models.pop() if len(models) == 1 else ""
    )
