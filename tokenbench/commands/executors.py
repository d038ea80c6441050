"""How a command says where its work is done: `--executor`, and the options of all executors there are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import click

from tokenbench.contract.executor import Executor
from tokenbench.errors import UsageError
from tokenbench.registry.plugins import Registry, registry

__all__ = ["DistributedCommand", "MakeExecutor", "make_executor"]

DEFAULT = "local"
MakeExecutor = Callable[[Registry], Executor]


class DistributedCommand(click.Command):
    """A command that takes `executor`, a function from the registry to the executor that the command line asks for."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Its own parameters, and those by which an executor is chosen and set up."""
        own = super().get_params(ctx)
        taken = {flag for parameter in own for flag in parameter.opts}
        added = [option for option in self._added if not taken & set(option.opts)]
        return [*own[:-1], *added, *own[-1:]]  # --help stays the last one

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command with the function in the place of the options."""
        name = ctx.params.pop("executor")
        given = {option.opts[0]: ctx.params.pop(str(option.name), None) for option in self._added[1:]}
        ctx.params["executor"] = partial(make_executor, name, given)
        return super().invoke(ctx)

    @property
    def _added(self) -> list[click.Option]:
        if not hasattr(self, "_options"):
            self._options = [_executor_option(), *_options_of_all(registry())]
        return self._options


def make_executor(name: str, given: Mapping[str, Any], known: Registry) -> Executor:
    """Make the executor of a name.

    Args:
        name: what `--executor` says.
        given: the values of all executors' options, by flag.
        known: where executors are looked up.

    Raises:
        UsageError: there is no such executor, or an option is another one's.
        MachineError: the executor finds that its engine is not there.
    """
    cls: type[Executor] = known.get("executors", name)
    own = {option.opts[0]: str(option.name) for option in cls.options}
    for flag, value in given.items():
        if value and flag not in own:
            owners = [n for n in known.names("executors") if flag in _flags(known, n)]
            raise UsageError(f"{flag} requires --executor {' or '.join(owners)}, not {name}")
    return cls(**{own[flag]: value for flag, value in given.items() if flag in own and value})


def _executor_option() -> click.Option:
    names = ", ".join(registry().names("executors"))
    return click.Option(
        ["--executor"], metavar="NAME", default=DEFAULT, show_default=True, help=f"Where to run: {names}."
    )


def _options_of_all(known: Registry) -> list[click.Option]:
    """The options of all executors, each flag once, under names of their own."""
    options: dict[str, click.Option] = {}
    for name in known.names("executors"):
        for option in _loaded(known, name):
            own = copy.copy(option)
            own.name = f"executor{option.opts[0].replace('-', '_')}"
            options.setdefault(option.opts[0], own)
    return list(options.values())


def _loaded(known: Registry, name: str) -> list[click.Option]:
    """The options of an executor; none if it cannot be loaded, which its user is told when they ask for it."""
    try:
        return list(known.get("executors", name).options)
    except UsageError:
        return []


def _flags(known: Registry, name: str) -> set[str]:
    return {option.opts[0] for option in _loaded(known, name)}
