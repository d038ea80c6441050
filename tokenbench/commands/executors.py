"""The option `--executor`, which says where a command does its work, and the options of all executors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from typing import Any

import click
from click.core import ParameterSource

from tokenbench.contract.executor import Executor
from tokenbench.errors import UsageError
from tokenbench.registry.plugins import Registry, registry

__all__ = ["DistributedCommand", "MakeExecutor", "make_executor"]

DEFAULT = "local"
MakeExecutor = Callable[[Registry], Executor]


class DistributedCommand(click.Command):
    """A command with options for an executor.

    The command's function takes an argument `executor`: a function that makes the executor, given the registry.
    """

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters, and those that choose and set up an executor."""
        own = super().get_params(ctx)
        taken = {flag for parameter in own for flag in parameter.opts}
        more = [option for option in self._executor_options if not taken & set(option.opts)]
        return [*own[:-1], *more, *own[-1:]]  # --help stays the last one

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, with a function that makes the executor in place of the executor's options."""
        name, options = ctx.params.pop("executor"), self._executor_options[1:]
        values = {option.opts[0]: ctx.params.pop(str(option.name), None) for option in options}
        sources = {option.opts[0]: ctx.get_parameter_source(str(option.name)) for option in options}
        given = [flag for flag, source in sources.items() if source not in (None, ParameterSource.DEFAULT)]
        ctx.params["executor"] = partial(make_executor, name, values, given)
        return super().invoke(ctx)

    @cached_property
    def _executor_options(self) -> list[click.Option]:
        return [_executor_option(), *_options_of_all(registry())]


def make_executor(name: str, values: Mapping[str, Any], given: Iterable[str], registry: Registry) -> Executor:
    """Make an executor.

    Args:
        name: The name of the executor.
        values: The values of all executors' options, by flag; None where there is none.
        given: The flags that the user gave, rather than their defaults.
        registry: The plug-ins that register executors.

    Raises:
        UsageError: There is no such executor, or an option belongs to another one.
        MachineError: The library that the executor needs is not installed.
    """
    cls: type[Executor] = registry.get("executors", name)
    own = {option.opts[0]: str(option.name) for option in cls.options}
    for flag in given:
        if flag not in own:
            owners = [n for n in registry.names("executors") if flag in _flags(registry, n)]
            raise UsageError(f"{flag} requires --executor {' or '.join(owners)}, not {name}")
    return cls(**{own[flag]: value for flag, value in values.items() if flag in own and value is not None})


def _executor_option() -> click.Option:
    names = ", ".join(registry().names("executors"))
    return click.Option(
        ["--executor"], metavar="NAME", default=DEFAULT, show_default=True, help=f"Where to run: {names}."
    )


def _options_of_all(registry: Registry) -> list[click.Option]:
    """Return the options of all executors, each flag once, under names that do not clash with a command's own."""
    options: dict[str, click.Option] = {}
    for name in registry.names("executors"):
        for option in _options_of(registry, name):
            own = copy.copy(option)
            own.name = f"executor{option.opts[0].replace('-', '_')}"
            options.setdefault(option.opts[0], own)
    return list(options.values())


def _options_of(registry: Registry, name: str) -> list[click.Option]:
    """Return the options of an executor; none if it cannot be loaded, which `make_executor` reports."""
    try:
        return list(registry.get("executors", name).options)
    except UsageError:
        return []


def _flags(registry: Registry, name: str) -> set[str]:
    return {option.opts[0] for option in _options_of(registry, name)}
