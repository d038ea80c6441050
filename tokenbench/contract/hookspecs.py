"""The hooks by which plug-ins, the built-in ones included, register what they bring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pluggy

__all__ = ["KINDS", "Register", "hookimpl"]

# register(name, target): target is the object itself, or "module:object", imported when somebody asks for the name.
Register = Callable[[str, Any], None]

hookspec = pluggy.HookspecMarker("tokenbench")
hookimpl = pluggy.HookimplMarker("tokenbench")

KINDS = ("strategies", "mergers", "backbones", "suites", "reports", "commands", "executors")


@hookspec
def tokenbench_register_strategies(register: Register) -> None:
    """Register strategies: subclasses of `tokenbench.Strategy`."""


@hookspec
def tokenbench_register_mergers(register: Register) -> None:
    """Register mergers: subclasses of `tokenbench.Merger`."""


@hookspec
def tokenbench_register_backbones(register: Register) -> None:
    """Register backbones: subclasses of `tokenbench.Backbone`."""


@hookspec
def tokenbench_register_suites(register: Register) -> None:
    """Register suites: functions of nothing, or of a `tokenbench.SuiteRequest`, that return a `tokenbench.Suite`."""


@hookspec
def tokenbench_register_reports(register: Register) -> None:
    """Register report formats: subclasses of `tokenbench.Report`."""


@hookspec
def tokenbench_register_commands(register: Register) -> None:
    """Register commands of the command line: click commands."""


@hookspec
def tokenbench_register_executors(register: Register) -> None:
    """Register executors, which `--executor` names: subclasses of `tokenbench.Executor`."""
