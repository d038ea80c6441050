"""The command that looks for what is wrong with this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from tokenbench.commands.output import say, say_json
from tokenbench.errors import MachineError

__all__ = ["doctor"]


@click.command()
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def doctor(form: str) -> None:
    """Look for what is wrong with this machine: libraries, GPU, memory, disk, caches, plug-ins.

    A line a finding, with how to mend it. Exit code 4 if one says FAIL.
    """
    from tokenbench_tools.doctor.findings import findings

    found = []
    for finding in findings(Path.cwd()):
        found.append(finding)
        if form == "text":
            say(finding)
    if form == "json":
        say_json([asdict(finding) for finding in found])
    failed = [finding.what for finding in found if finding.state == "FAIL"]
    if failed:
        raise MachineError(
            f"this machine cannot run TokenBench as it is: {', '.join(failed)}", "each FAIL says how to mend it"
        )
