"""The command that writes a plug-in to start from."""

from __future__ import annotations

from pathlib import Path

import click

from tokenbench.commands.options import examples
from tokenbench.commands.output import say

__all__ = ["new"]


@click.command(
    epilog=examples(
        "tokenbench new strategy my-method",
        "tokenbench new suite my-tasks -o packages/my-tasks",
        "tokenbench new suite my-questions --from mine.csv",
    )
)
@click.argument("kind", type=click.Choice(["strategy", "backbone", "suite", "report"]))
@click.argument("name")
@click.option(
    "--from",
    "table",
    metavar="TABLE",
    default="",
    help="A table of your own questions, as for 'tokenbench run --suite', that a new suite is made of: mine.csv. It is copied with its pictures.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder to create.  [default: tokenbench-NAME]")
def new(kind: str, name: str, table: str, output: Path | None) -> None:
    """Create a small package with a working plug-in.

    The package has an entry point, the plug-in as one file (which --plugin accepts, too), a conformance test and a
    README.
    """
    from tokenbench.registry.plugins import Registry
    from tokenbench_tools.scaffold import scaffold

    folder = output or Path(f"tokenbench-{name}")
    commands = scaffold(kind, name, folder, Registry(), table)
    say(f"created {folder}; next steps:")
    for command in commands:
        say(f"  {command}")
