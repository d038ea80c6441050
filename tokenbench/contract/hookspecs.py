"""The hooks by which plug-ins, the built-in ones included, register what they bring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pluggy

__all__ = ["KINDS", "Register", "hookimpl"]

Register = Callable[[str, Any], None]
"""The argument of every hook, `register(name, target)`. The target is the object itself, or "module:object", which is
imported only when somebody asks for the name."""

hookspec = pluggy.HookspecMarker("tokenbench")
hookimpl = pluggy.HookimplMarker("tokenbench")

KINDS = ("strategies", "mergers", "backbones", "suites", "reports", "commands", "executors")
"""What can be registered; each kind has a hook."""


@hookspec
def tokenbench_register_strategies(register: Register) -> None:
    """Register strategies, which are subclasses of `tokenbench.Strategy`."""


@hookspec
def tokenbench_register_mergers(register: Register) -> None:
    """Register mergers, which are subclasses of `tokenbench.Merger`."""


@hookspec
def tokenbench_register_backbones(register: Register) -> None:
    """Register backbones, which are subclasses of `tokenbench.Backbone`."""


@hookspec
def tokenbench_register_suites(register: Register) -> None:
    """Register suites: functions of nothing, or of a `tokenbench.SuiteRequest`, that return a `tokenbench.Suite`."""


@hookspec
def tokenbench_register_reports(register: Register) -> None:
    """Register report formats, which are subclasses of `tokenbench.Report`."""


@hookspec
def tokenbench_register_commands(register: Register) -> None:
    """Register commands of the command line, which are click commands."""


@hookspec
def tokenbench_register_executors(register: Register) -> None:
    """Register executors for the option `--executor`, which are subclasses of `tokenbench.Executor`."""
