"""Finds the YAML of a task by its name, in lmms-eval and in the user's folders, without importing lmms-eval."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from tokenbench.errors import MachineError, UsageError, unknown
from tokenbench.registry.installation import install

__all__ = ["OWN", "find_lmms_eval", "find_tasks", "list_definitions"]

NAMED = re.compile(r"^(task|group)[ \t]*:[ \t]*[\"']?([\w.+-]+)[\"']?[ \t]*(?:#.*)?$", re.MULTILINE)
LISTED = re.compile(
    r"^task[ \t]*:[ \t]*(?:#.*)?\n((?:[ \t]*-[ \t]*[\"']?[\w.+-]+[\"']?[ \t]*(?:#.*)?\n?)+)", re.MULTILINE
)
OWN = Path(__file__).parent / "tasks"
"""Definitions of tasks that lmms-eval scores by a judge alone, or over its whole data alone."""
ITEM = re.compile(r"-[ \t]*[\"']?([\w.+-]+)")


def find_lmms_eval() -> Path:
    """Return the folder of lmms-eval.

    Raises:
        MachineError: If it is not installed; the error gives the command that installs it.
    """
    spec = find_spec("lmms_eval")
    if spec is None or not spec.submodule_search_locations:
        raise MachineError("public benchmarks need lmms-eval, which is not installed", install("lmms"))
    return Path(next(iter(spec.submodule_search_locations)))


@lru_cache
def list_definitions(folder: Path) -> dict[str, Path]:
    """Name -> YAML of every task and group below a folder."""
    return {name: path for name, _, path in reversed(_read_names(folder))}


@lru_cache
def list_groups(folder: Path) -> dict[str, list[str]]:
    """Group -> tasks whose own YAMLs say that they belong to it."""
    groups: dict[str, list[str]] = {}
    for name, group, _ in _read_names(folder):
        if group:
            groups.setdefault(group, []).append(name)
    return groups


def _read_names(folder: Path) -> list[tuple[str, str, Path]]:
    """The task or group that every YAML defines, the group to which it says that it belongs, and the YAML."""
    found = []
    for path in sorted(folder.rglob("*.yaml")):
        names = dict(NAMED.findall(path.read_text(encoding="utf-8", errors="replace")))
        task, group = names.get("task", ""), names.get("group", "")
        if task or group:
            found.append((task or group, group if task else "", path))
    return found


def find_tasks(name: str, folders: tuple[Path, ...]) -> dict[str, Path]:
    """Return the tasks that a name stands for, with their YAMLs: one task, or those of a group.

    The user's folders come first, then lmms-eval, then TokenBench's own definitions.

    Raises:
        UsageError: If no task has that name, or two definitions have it.
        MachineError: If lmms-eval is not installed.
    """
    for folder in folders:
        if not folder.is_dir():
            raise MachineError(
                f"the folder of task definitions {folder} does not exist", "give another one with --tasks-dir"
            )
    searched = (*folders, find_lmms_eval() / "tasks", OWN)
    places = [list_definitions(folder) for folder in searched]
    own = [place[name] for place in places[: len(folders)] if name in place]
    if len(own) > 1:
        raise UsageError(f"task '{name}' is defined both in {own[0]} and in {own[1]}", "rename one of them")
    known = {key: path for place in reversed(places) for key, path in place.items()}
    groups = [list_groups(folder) for folder in searched]
    if name not in known:
        members = next((group[name] for group in groups if name in group), None)
        if members is None:
            raise unknown("lmms-eval task", name, {*known, *(key for group in groups for key in group)})
        return {task: known[task] for task in members}
    text = known[name].read_text(encoding="utf-8", errors="replace")
    listed = LISTED.search(text)
    if not listed:
        return {name: known[name]}
    return {task: path for item in ITEM.findall(listed[1]) for task, path in find_tasks(item, folders).items()}
