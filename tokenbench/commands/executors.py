"""The option `--executor`, which says where a command does its work, and the options of all executors."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from tokenbench.contract.executor import Executor
from tokenbench.errors import UsageError
from tokenbench.registry.plugins import Registry, registry

__all__ = ["DistributedCommand", "ExecutorChoice", "spec_keys"]

DEFAULT = "local"


@dataclass(frozen=True)
class ExecutorChoice:
    """Where a command does its work, and with which options."""

    name: str = DEFAULT
    """The name of the executor."""
    named: bool = False
    """Whether the user named it, rather than leaving the default."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """The values of all executors' options, by flag; None where there is none."""
    given: frozenset[str] = frozenset()
    """The flags that the user gave, rather than their defaults."""

    def make(self, registry: Registry) -> Executor:
        """Make the executor.

        Args:
            registry: The plug-ins that register executors.

        Raises:
            UsageError: There is no such executor, or an option belongs to another one.
            MachineError: The library that the executor needs is not installed.
        """
        cls: type[Executor] = registry.get("executors", self.name)
        own = {option.opts[0]: str(option.name) for option in cls.options}
        for flag in sorted(self.given - own.keys()):
            owners = [n for n in registry.names("executors") if flag in _flags(registry, n)]
            raise UsageError(f"{flag} requires --executor {' or '.join(owners)}, not {self.name}")
        return cls(**{own[flag]: value for flag, value in self.values.items() if flag in own and value is not None})

    def over(self, spec: Mapping[str, Any], file: Path, registry: Registry) -> ExecutorChoice:
        """Return this choice with the options of a run spec below it.

        Options of the command line take precedence; one that may be repeated adds to those of the spec. If the command line names another
        executor than the spec, the options of the spec's executor are left out.

        Args:
            spec: The options of the spec, by the keys that `spec_keys` returns.
            file: The spec, for the error.
            registry: The plug-ins that register executors.

        Raises:
            UsageError: A value is none that the option takes.
        """
        name = spec.get("executor", DEFAULT)
        if not isinstance(name, str):
            raise UsageError(f"run spec {file}: executor must be a name, not {name!r:.60}")
        chosen = self.name if self.named else name
        options = {key: option for key, option in _keys(registry).items() if key in spec}
        if self.named and self.name != name:
            own = _flags(registry, chosen)
            options = {key: option for key, option in options.items() if option.opts[0] in own}
        values = dict(self.values)
        for key, option in options.items():
            flag = option.opts[0]
            below = _convert(option, spec[key], f"run spec {file}: {key}")
            if flag not in self.given:
                values[flag] = below
            elif isinstance(below, tuple) and isinstance(values[flag], tuple):
                values[flag] = below + values[flag]
        flags = {option.opts[0] for option in options.values()}
        return replace(self, name=chosen, values=values, given=self.given | flags)


class DistributedCommand(click.Command):
    """A command with options for an executor.

    The command's function takes an argument `executor`: an `ExecutorChoice`.
    """

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters, and those that choose and set up an executor."""
        own = super().get_params(ctx)
        taken = {flag for parameter in own for flag in parameter.opts}
        more = [option for option in self._executor_options if not taken & set(option.opts)]
        return [*own[:-1], *more, *own[-1:]]  # --help stays the last one

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, with the choice of an executor in place of the executors' options."""
        named = ctx.get_parameter_source("executor") not in (None, ParameterSource.DEFAULT)
        name, options = ctx.params.pop("executor"), self._executor_options[1:]
        values = {option.opts[0]: ctx.params.pop(str(option.name), None) for option in options}
        sources = {option.opts[0]: ctx.get_parameter_source(str(option.name)) for option in options}
        given = frozenset(flag for flag, source in sources.items() if source not in (None, ParameterSource.DEFAULT))
        ctx.params["executor"] = ExecutorChoice(name, named, values, given)
        return super().invoke(ctx)

    @cached_property
    def _executor_options(self) -> list[click.Option]:
        return [_executor_option(), *_options_of_all(registry())]


def spec_keys(registry: Registry) -> set[str]:
    """Return the keys of a run spec that say where it is run: `executor`, and the options of all executors."""
    return {"executor", *_keys(registry)}


def _keys(registry: Registry) -> dict[str, click.Option]:
    """Return the options of all executors by their keys in a run spec: `--ray-address` is `ray_address`."""
    return {option.opts[0].lstrip("-").replace("-", "_"): option for option in _options_of_all(registry)}


def _convert(option: click.Option, value: Any, where: str) -> Any:
    """Convert what a spec says to a value of an option. One that may be repeated takes a list, or one value alone."""
    given = (value if isinstance(value, list) else [value]) if option.multiple else value
    texts = given if option.multiple else [given]
    if option.type is click.STRING and any(isinstance(one, (dict, list)) for one in texts):
        raise UsageError(f"{where} must be a text, not {value!r:.60}")
    context = click.Context(click.Command("run"))
    try:
        return option.process_value(context, given)
    except (click.BadParameter, TypeError, ValueError) as error:
        reason = error.message if isinstance(error, click.BadParameter) else str(error)
        raise UsageError(f"{where}: {reason}") from None


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
    """Return the options of an executor; none if it cannot be loaded, which `ExecutorChoice.make` reports."""
    try:
        return list(registry.get("executors", name).options)
    except UsageError:
        return []


def _flags(registry: Registry, name: str) -> set[str]:
    return {option.opts[0] for option in _options_of(registry, name)}
