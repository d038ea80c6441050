"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

__all__ = ["Names", "flat", "list_option", "match_option", "plugin_option"]

F = TypeVar("F", bound=Callable[..., Any])


class Names(click.ParamType[Any]):
    """A comma list; the option may be repeated as well."""

    name = "A,B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def flat(values: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """All names once, in the order they were given."""
    return tuple(dict.fromkeys(name for part in values for name in part))


def list_option(*names: str, help: str, default: str | None = None) -> Callable[[F], F]:
    return click.option(
        *names,
        type=Names(),
        multiple=True,
        default=[default] if default else (),
        show_default=default or False,
        help=help,
    )


plugin_option = click.option(
    "--plugin", "plugin_files", multiple=True, metavar="FILE", help="Load a plug-in from one Python file."
)


match_option = click.option(
    "--match",
    type=click.Choice(["nominal", "tokens", "flops"]),
    default="nominal",
    show_default=True,
    help="A budget as each method's paper counts it, or schedules scaled to equal mean tokens or FLOPs.",
)
