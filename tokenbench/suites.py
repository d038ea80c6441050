"""Suites by the names users write: `image`, or with names of tasks, `lmms:pope,lmms:mme`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

from tokenbench.errors import MachineError, UsageError, unknown
from tokenbench.plugins import Registry
from tokenbench.suite import Suite, SuiteRequest, Task

__all__ = ["data_folders", "resolve_suite", "suite_alone"]


def resolve_suite(
    text: str, tasks: Sequence[str], known: Registry, data: Sequence[str] = (), definitions: Sequence[str] = ()
) -> tuple[Suite, tuple[Task, ...]]:
    """The suite and its chosen tasks; no choice means all.

    text: names of suites, each with or without the name of a task after a colon, between commas. data: `TASK=FOLDER`.
    definitions: folders. Raises UsageError for what is unknown, MachineError for a folder that is not there.
    """
    suite = _joined(text, [_made(name, named, known, data, definitions) for name, named in _named(text).items()])
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
    make = known.get("suites", name)
    return _checked(name, make(SuiteRequest()) if inspect.signature(make).parameters else make())


def data_folders(data: Sequence[str]) -> dict[str, Path]:
    """`TASK=FOLDER` texts as a mapping. Raises UsageError for a wrong text, MachineError if there is no such folder."""
    folders: dict[str, Path] = {}
    for text in data:
        task, equals, folder = text.partition("=")
        if not equals or not task or not folder:
            raise UsageError(f"--data '{text}' is not TASK=FOLDER", "as in --data gqa=/data/gqa")
        if not Path(folder).is_dir():
            raise MachineError(
                f"the data folder {folder} of task '{task}' is not there", "mount it, or name another one"
            )
        folders[task] = Path(folder)
    return folders


def _named(text: str) -> dict[str, tuple[str, ...]]:
    """Suite -> names of its tasks that were asked for, none for all."""
    found: dict[str, tuple[str, ...]] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        suite, colon, task = part.partition(":")
        if colon and not task:
            raise UsageError(f"suite '{part}': no task after the colon", f"write {suite}:TASK")
        found[suite] = (*found.get(suite, ()), *filter(None, (task,)))
    return found


def _made(name: str, named: tuple[str, ...], known: Registry, data: Sequence[str], definitions: Sequence[str]) -> Suite:
    make = known.get("suites", name)
    if inspect.signature(make).parameters:
        suite = _checked(name, make(SuiteRequest(named, data_folders(data), tuple(map(Path, definitions)))))
    elif named or data or definitions:
        option = f"':{named[0]}'" if named else "--data" if data else "--tasks-dir"
        raise UsageError(f"suite '{name}' takes no {option}", "choose among its tasks with --tasks" if named else "")
    else:
        suite = _checked(name, make())
    if not suite.tasks:
        raise UsageError(f"suite '{name}' has no task of its own", f"name tasks: --suite {name}:TASK")
    return suite


def _checked(name: str, suite: object) -> Suite:
    if not isinstance(suite, Suite):
        raise UsageError(f"suite '{name}' is a {type(suite).__name__}, not a tokenbench.Suite")
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
            raise UsageError(f"suites '{text}' have a task '{name}' each", "name one of them")
    models = {suite.model for suite in suites}
    return Suite(
        text, "; ".join(suite.description for suite in suites), tasks, models.pop() if len(models) == 1 else ""
    )
