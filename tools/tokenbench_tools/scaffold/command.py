"""The command that writes a plug-in to start from."""

from __future__ import annotations

from pathlib import Path

import click

from tokenbench.commands.output import say

__all__ = ["new"]


@click.command()
@click.argument("kind", type=click.Choice(["strategy", "backbone", "suite", "report"]))
@click.argument("name")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder to write.  [default: tokenbench-NAME]")
def new(kind: str, name: str, output: Path | None) -> None:
    """Write a small package with a plug-in that works: tokenbench new strategy my-method.

    It has the entry point, the plug-in as one file (which --plugin takes as well), its conformance test and a README.
    """
    from tokenbench.registry.plugins import Registry
    from tokenbench_tools.scaffold import scaffold

    folder = output or Path(f"tokenbench-{name}")
    commands = scaffold(kind, name, folder, Registry())
    say(f"wrote {folder}; next:")
    for command in commands:
        say(f"  {command}")
