"""Finds plug-ins, keeps what they register, and reports clashes. No other module uses pluggy.

A plug-in that fails is kept with its error. It stops only a command that asks for something that it would have registered.
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
from tokenbench.registry.containment import PluginError, contain

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
# A name must not contain the separators of `clse:temp=0.2,fastv@pdrop+merge`. It is ASCII, since letters of other scripts look alike,
# and a reader of a report must be able to type it.
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
    """One plug-in."""

    name: str
    """The name of its entry point or file."""
    origin: str
    """The name and version of its distribution, or the path of its file."""
    registered: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    """The names that it registered, by kind."""
    error: str = ""
    """Why it failed; empty if it did not."""

    @property
    def distribution(self) -> str:
        """The name of its distribution."""
        return self.origin.rpartition(" ")[0]


@dataclass(frozen=True)
class _Entry:
    target: Any
    """The object, or `module:attribute` of one that is imported when it is needed."""
    plugin: Plugin
    """The plug-in that registered it."""


class Registry:
    """All strategies, mergers, backbones, suites, report formats, commands and executors, by name.

    Args:
        files: Plug-ins that are single Python files.

    Raises:
        UsageError: A file fails to load. An installed plug-in that fails is no error here, since the user did not ask for it.
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
        """Return all names of a kind, sorted."""
        return sorted(self._entries[kind])

    def get(self, kind: str, name: str) -> Any:
        """Return the object that is registered under a name.

        Args:
            kind: The kind, such as `strategies`.
            name: The name.

        Raises:
            UsageError: No plug-in registers the name, several do, or the object cannot be loaded.
        """
        entries = self._entries[kind].get(name, [])
        singular = _SINGULAR[kind]
        if not entries:
            failed = "; ".join(f"plug-in {p.name} failed to load ({p.error})" for p in self.plugins if p.error)
            raise unknown(singular, name, self.names(kind), failed)
        if len(entries) > 1:
            origins = " and ".join(f"{entry.plugin.name} ({entry.plugin.origin})" for entry in entries)
            raise UsageError(f"the {singular} name '{name}' is registered by {origins}", "uninstall one of them")
        (entry,) = entries
        return _check_target(kind, name, _load_target(entry.target, name, entry.plugin), entry.plugin)

    def name_of(self, kind: str, cls: type) -> str | None:
        """Return the first name under which a class is registered; None if it is not registered."""
        written = f"{cls.__module__}:{cls.__qualname__}"
        entries = [(name, entry) for name in self.names(kind) for entry in self._entries[kind][name]]
        entries.sort(key=lambda entry: entry[1].target not in (cls, written))  # the others have to be imported
        for name, _ in entries:
            try:
                if self.get(kind, name) is cls:
                    return name
            except UsageError:  # a broken plug-in, or a name that two register
                continue
        return None

    def _entry_points(self) -> Iterable[EntryPoint]:
        """Return the entry points of all distributions. If its metadata cannot be read, a distribution becomes a failed plug-in."""
        try:
            return entry_points(group=GROUP)
        except Exception:  # the error does not name the distribution, so they are read one by one
            by_name: dict[tuple[str, str], EntryPoint] = {}
        for distribution in distributions():
            try:
                points = [point for point in distribution.entry_points if point.group == GROUP]
            except Exception as error:
                self.plugins.append(Plugin(str(distribution.name), "its entry_points.txt", error=brief(error)))
                continue
            by_name = {(point.name, point.value): point for point in points} | by_name
        return by_name.values()

    def _add_entry_point(self, point: EntryPoint) -> None:
        origin = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown distribution"
        plugin = Plugin(point.name, origin)
        self.plugins.append(plugin)
        try:
            with contain():
                self._register(plugin, point.load())
        except PluginError as error:  # it must not stop the others
            plugin.error = str(error)

    def _add_file(self, path: Path) -> None:
        plugin = Plugin(path.name, str(path))
        self.plugins.append(plugin)
        try:
            with contain():
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
        targets: list[tuple[str, str, Any]] = []
        for kind in KINDS:
            hook = getattr(self._manager.hook, f"tokenbench_register_{kind}")
            for implementation in hook.get_hookimpls():
                if implementation.plugin is module:
                    implementation.function(lambda name, target, kind=kind: targets.append((kind, name, target)))
        if not targets:
            raise UsageError("it registers nothing: implement a tokenbench_register_… hook and mark it with hookimpl")
        for kind, name, _ in targets:
            if not isinstance(name, str) or not is_name(name):
                raise UsageError(
                    f"it registers a {_SINGULAR[kind]} as {ascii(name)[:80]}, but a name may contain only a-z, A-Z, 0-9, '.', '_' and '-'"
                )
        for kind, name, target in targets:
            plugin.registered[kind].append(name)
            self._entries[kind].setdefault(name, []).append(_Entry(target, plugin))


def is_name(text: str) -> bool:
    """Return whether a plug-in may register something under this name."""
    return _NAME.fullmatch(text) is not None


@lru_cache(maxsize=1)
def registry() -> Registry:
    """Return the registry of everything that is installed."""
    return Registry()


def file_module(path: Path) -> str:
    """Return the name of the module that a single-file plug-in becomes."""
    return f"tokenbench_plugin_{path.stem.replace('-', '_')}"


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError("no such file")
    name = file_module(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("a plug-in file must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look it up here
    spec.loader.exec_module(module)
    return module


def _load_target(target: Any, name: str, plugin: Plugin) -> Any:
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    try:
        with contain():
            return getattr(import_module(module), attribute)
    except PluginError as error:
        raise UsageError(f"plug-in {plugin.name} ({plugin.origin}) cannot provide '{name}': {error}") from error


def _check_target(kind: str, name: str, value: Any, plugin: Plugin) -> Any:
    """Return the value if it keeps the contract of its kind, else raise UsageError."""
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
