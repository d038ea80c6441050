"""Suites by the names users write: `image`, or with names of tasks, `lmms:pope,lmms:mme`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tokenbench.contract.suite import Suite, SuiteRequest, Task
from tokenbench.errors import MachineError, TokenBenchError, UsageError, brief, unknown
from tokenbench.registry.plugins import Registry

__all__ = ["absolute_data", "absolute_folders", "data_folders", "resolve_suite", "suite_alone"]


def resolve_suite(
    suite: str | Suite,
    tasks: Sequence[str],
    registry: Registry,
    data: Sequence[str] = (),
    definitions: Sequence[str] = (),
) -> tuple[Suite, tuple[Task, ...]]:
    """The suite and its chosen tasks.

    Args:
        suite: an object, or names of suites between commas, each with or without the name of a task after a colon.
        tasks: names of tasks of the suite; all of them if there are none.
        registry: where suites are looked up.
        data: `TASK=FOLDER` texts.
        definitions: folders with task definitions.

    Raises:
        UsageError: for what is unknown.
        MachineError: for a folder that is not there.
    """
    if isinstance(suite, Suite):
        if data or definitions:
            raise UsageError(f"suite '{suite.name}' is an object, which takes no {'data' if data else 'tasks_dir'}")
        suite = _checked(suite.name, suite)
    else:
        parts = _named(suite).items()
        suite = _joined(suite, [_made(name, named, registry, data, definitions) for name, named in parts])
    by_name = {task.name: task for task in suite.tasks}
    for key in data_folders(data):
        if not any(key in (name, name.partition("_")[0]) for name in by_name):
            raise unknown(f"task of suite '{suite.name}' in --data", key, by_name)
    for task in tasks:
        if task not in by_name:
            raise unknown(f"task of suite '{suite.name}'", task, by_name)
    return suite, tuple(by_name[task] for task in dict.fromkeys(tasks)) or suite.tasks


def suite_alone(name: str, known: Registry) -> Suite:
    """A suite by its name alone, with the tasks of its own, which may be none."""
    return _called(name, known.get("suites", name), SuiteRequest())


def absolute_data(data: Sequence[str]) -> tuple[str, ...]:
    """`TASK=FOLDER` texts as a run remembers them, with absolute folders. Raises as `data_folders` does."""
    return tuple(f"{task}={folder.resolve()}" for task, folder in data_folders(data).items())


def absolute_folders(folders: Iterable[str]) -> tuple[str, ...]:
    """Folders by the names under which a run remembers them. Raises MachineError for one that is not there."""
    found = []
    for folder in folders:
        try:
            found.append(str(Path(folder).resolve(strict=True)))
        except (OSError, ValueError, RuntimeError):  # no such name, no name at all, a link to itself
            raise MachineError(f"the folder {folder[:200]} does not exist", "give another one") from None
    return tuple(found)


def data_folders(data: Sequence[str]) -> dict[str, Path]:
    """`TASK=FOLDER` texts as a mapping. Raises UsageError for a wrong text, MachineError if there is no such folder."""
    folders: dict[str, Path] = {}
    for text in data:
        task, equals, folder = text.partition("=")
        if not equals or not task or not folder:
            raise UsageError(f"--data '{text}' is not TASK=FOLDER", "write, for example, --data gqa=/data/gqa")
        if not _is_folder(folder):
            raise MachineError(
                f"the data folder {folder} of task '{task}' does not exist", "mount it, or give another one"
            )
        folders[task] = Path(folder)
    return folders


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except OSError:  # a name that none can have
        return False


def _named(text: str) -> dict[str, tuple[str, ...]]:
    """Suite -> names of its tasks that were asked for, none for all."""
    found: dict[str, tuple[str, ...]] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        suite, colon, task = part.partition(":")
        if colon and not task:
            raise UsageError(f"suite '{part}': there is no task after the colon", f"write {suite}:TASK")
        found[suite] = (*found.get(suite, ()), *filter(None, (task,)))
    return found


def _made(name: str, named: tuple[str, ...], known: Registry, data: Sequence[str], definitions: Sequence[str]) -> Suite:
    make = known.get("suites", name)
    if (named or data or definitions) and not inspect.signature(make).parameters:
        option = f"':{named[0]}'" if named else "--data" if data else "--tasks-dir"
        raise UsageError(f"suite '{name}' takes no {option}", "choose among its tasks with --tasks" if named else "")
    suite = _called(name, make, SuiteRequest(named, data_folders(data), tuple(map(Path, definitions))))
    if not suite.tasks:
        raise UsageError(f"suite '{name}' has no tasks of its own", f"name them: --suite {name}:TASK")
    return suite


def _called(name: str, make: Callable[..., object], request: SuiteRequest) -> Suite:
    """What a plug-in makes of the request, if it is a suite."""
    try:
        suite = make(request) if inspect.signature(make).parameters else make()
    except TokenBenchError:
        raise
    except (Exception, SystemExit) as error:  # a plug-in's own code may raise anything
        raise UsageError(f"suite '{name}' cannot be created: {brief(error)}") from error
    return _checked(name, suite)


def _checked(name: str, suite: object) -> Suite:
    """The suite if it keeps the contract."""
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


def _joined(text: str, suites: Sequence[Suite]) -> Suite:
    """One suite of all; its own model only where they agree."""
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
