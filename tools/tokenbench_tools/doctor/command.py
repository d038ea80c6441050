"""The command that looks for what is wrong with this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from tokenbench.commands.options import examples
from tokenbench.commands.output import say, say_json
from tokenbench.errors import MachineError

__all__ = ["doctor"]


@click.command(epilog=examples("tokenbench doctor", "tokenbench doctor --format json"))
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Output format."
)
def doctor(form: str) -> None:
    """Check libraries, GPU, memory, disk and plug-ins.

    Each finding is one line that says how to fix the problem. The exit code is 4 if any finding says FAIL.
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
            f"this machine cannot run TokenBench as it is: {', '.join(failed)}", "each FAIL above says how to fix it"
        )
