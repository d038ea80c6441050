"""Finds plug-ins, keeps what they register, refuses clashes. Nothing else touches pluggy.

A plug-in that fails is remembered with its reason and stops only a command that asks for what it would have brought.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, distributions, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pluggy

from tokenbench.contract import hookspecs
from tokenbench.contract.hookspecs import KINDS
from tokenbench.errors import UsageError, brief, unknown
from tokenbench.registry.containment import PluginError, contained

__all__ = ["Plugin", "Registry", "file_module", "is_name", "registry"]

GROUP = "tokenbench"
_SINGULAR = {
    "strategies": "strategy",
    "mergers": "merger",
    "backbones": "model",
    "suites": "suite",
    "reports": "report format",
    "commands": "command",
    "executors": "executor",
}
# What a name may be. The signs of `clse:temp=0.2,fastv@pdrop+merge` are none of its own; letters of other scripts look like
# these ones, and a name must be one that a reader of a report can type.
_NAME = re.compile(r"\w[\w.-]{0,63}", re.ASCII)
_BASES = {
    "strategies": "Strategy",
    "mergers": "Merger",
    "backbones": "Backbone",
    "reports": "Report",
    "executors": "Executor",
}


@dataclass
class Plugin:
    """One plug-in: where it comes from, what it registered (kind -> names), and why it failed, if it did."""

    name: str
    origin: str
    registered: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    error: str = ""

    @property
    def distribution(self) -> str:
        """The name of the distribution it came with."""
        return self.origin.rpartition(" ")[0]


@dataclass(frozen=True)
class _Entry:
    target: Any
    plugin: Plugin


class Registry:
    """Every strategy, backbone, suite and report format by name.

    files: plug-ins given as single Python files; one that fails is an error at once, since it was asked for.
    """

    def __init__(self, files: Iterable[str | Path] = ()) -> None:
        self.plugins: list[Plugin] = []
        self.files = [Path(file) for file in files]
        self._entries: dict[str, dict[str, list[_Entry]]] = {kind: {} for kind in KINDS}
        self._manager = pluggy.PluginManager("tokenbench")
        self._manager.add_hookspecs(hookspecs)
        for point in sorted(self._entry_points(), key=lambda point: point.name):
            self._add_entry_point(point)
        for file in self.files:
            self._add_file(file)

    def names(self, kind: str) -> list[str]:
        """All names of a kind, sorted."""
        return sorted(self._entries[kind])

    def get(self, kind: str, name: str) -> Any:
        """The object registered under a name. Raises UsageError if there is none, more than one, or a broken one."""
        entries = self._entries[kind].get(name, [])
        singular = _SINGULAR[kind]
        if not entries:
            failed = "; ".join(f"plug-in {p.name} failed to load ({p.error})" for p in self.plugins if p.error)
            raise unknown(singular, name, self.names(kind), failed)
        if len(entries) > 1:
            origins = " and ".join(f"{entry.plugin.name} ({entry.plugin.origin})" for entry in entries)
            raise UsageError(f"the {singular} name '{name}' is registered by {origins}", "uninstall one of them")
        (entry,) = entries
        return _checked(kind, name, _resolved(entry.target, name, entry.plugin), entry.plugin)

    def name_of(self, kind: str, cls: type) -> str | None:
        """The first name that a class is registered under; None if it is not registered."""
        written = f"{cls.__module__}:{cls.__qualname__}"
        entries = [(name, entry) for name in self.names(kind) for entry in self._entries[kind][name]]
        entries.sort(key=lambda found: found[1].target not in (cls, written))  # the others need an import to tell
        for name, _ in entries:
            try:
                if self.get(kind, name) is cls:
                    return name
            except UsageError:  # a broken plug-in, or a name that two register
                continue
        return None

    def _entry_points(self) -> Iterable[EntryPoint]:
        """Those of all distributions; one whose metadata cannot be read is a plug-in that failed."""
        try:
            return entry_points(group=GROUP)
        except Exception:  # it does not say which: they are asked one by one
            found: dict[tuple[str, str], EntryPoint] = {}
        for distribution in distributions():
            try:
                points = [point for point in distribution.entry_points if point.group == GROUP]
            except Exception as error:
                self.plugins.append(Plugin(str(distribution.name), "its entry_points.txt", error=brief(error)))
                continue
            found = {(point.name, point.value): point for point in points} | found
        return found.values()

    def _add_entry_point(self, point: EntryPoint) -> None:
        origin = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown distribution"
        plugin = Plugin(point.name, origin)
        self.plugins.append(plugin)
        try:
            with contained():
                self._register(plugin, point.load())
        except PluginError as error:  # it must not stop the others
            plugin.error = str(error)

    def _add_file(self, path: Path) -> None:
        plugin = Plugin(path.name, str(path))
        self.plugins.append(plugin)
        try:
            with contained():
                self._register(plugin, _load_file(path))
        except PluginError as error:
            raise UsageError(f"plug-in {path} failed to load: {error}") from error
        for kind, names in plugin.registered.items():
            for name in names:
                self.get(kind, name)

    def _register(self, plugin: Plugin, module: Any) -> None:
        self._manager.register(module, name=f"{plugin.name} ({plugin.origin})")
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError:
            self._manager.unregister(module)
            raise
        found: list[tuple[str, str, Any]] = []
        for kind in KINDS:
            hook = getattr(self._manager.hook, f"tokenbench_register_{kind}")
            for implementation in hook.get_hookimpls():
                if implementation.plugin is module:
                    implementation.function(lambda name, target, kind=kind: found.append((kind, name, target)))
        if not found:
            raise UsageError("it registers nothing: implement a tokenbench_register_… hook and mark it with hookimpl")
        for kind, name, _ in found:
            if not isinstance(name, str) or not is_name(name):
                raise UsageError(
                    f"it registers a {_SINGULAR[kind]} as {ascii(name)[:80]}, but a name may contain only a-z, A-Z, 0-9, '.', '_' and '-'"
                )
        for kind, name, target in found:
            plugin.registered[kind].append(name)
            self._entries[kind].setdefault(name, []).append(_Entry(target, plugin))


def is_name(text: str) -> bool:
    """Whether a plug-in may register something under this name."""
    return _NAME.fullmatch(text) is not None


@lru_cache(maxsize=1)
def registry() -> Registry:
    """The registry of everything installed."""
    return Registry()


def file_module(path: Path) -> str:
    """The name of the module that a single-file plug-in becomes."""
    return f"tokenbench_plugin_{path.stem.replace('-', '_')}"


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError("no such file")
    name = file_module(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("a plug-in file must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look their module up
    spec.loader.exec_module(module)
    return module


def _resolved(target: Any, name: str, plugin: Plugin) -> Any:
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    try:
        with contained():
            return getattr(import_module(module), attribute)
    except PluginError as error:
        raise UsageError(f"plug-in {plugin.name} ({plugin.origin}) cannot provide '{name}': {error}") from error


def _checked(kind: str, name: str, value: Any, plugin: Plugin) -> Any:
    """The value if it keeps the contract of its kind."""
    if kind == "suites":
        right, wanted = callable(value), "a function that returns a tokenbench.Suite"
    elif kind == "commands":
        right, wanted = isinstance(value, click.Command), "a click command"
    else:
        base = getattr(import_module("tokenbench"), _BASES[kind])
        right = isinstance(value, type) and issubclass(value, base) and value is not base
        wanted = f"a subclass of tokenbench.{base.__name__}"
    if not right:
        raise UsageError(f"plug-in {plugin.name} ({plugin.origin}): '{name}' must be {wanted}, not {value!r:.80}")
    return value
