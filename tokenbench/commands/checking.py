"""The command that checks whether a plug-in keeps its contract."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from tokenbench.commands.options import examples
from tokenbench.commands.output import say, say_json
from tokenbench.errors import GateError, UsageError

__all__ = ["check"]


@click.command(
    epilog=examples(
        "tokenbench check clse",
        "tokenbench check --model-type smolvlm",
        "tokenbench check tokenbench-my-method --format json",
    )
)
@click.argument("plugin", required=False)
@click.option(
    "--model-type",
    metavar="TYPE",
    help="Check the backbone of an architecture, on a small random model of it, instead of a plug-in.",
)
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Output format."
)
def check(plugin: str | None, model_type: str | None, form: str) -> None:
    """Run the conformance checks on a plug-in.

    PLUGIN is the name of a strategy, merger, backbone, suite or report format, the name of an installed plug-in or
    distribution, or a .py file. Strategies are compared with stock transformers on a tiny random model of every registered
    architecture. The exit code is 1 if a check fails.
    """
    import torch

    from tokenbench.testing.plugin import architecture_verdicts, verdicts

    if (plugin is None) == (model_type is None):
        raise UsageError("check takes either a plug-in or --model-type", "see tokenbench check --help")

    if plugin is not None and plugin.endswith(".py") and not Path(plugin).is_file():
        raise UsageError(f"the plug-in file {plugin} does not exist", "check its name, or give its folder, too")
    torch.set_num_threads(1)  # on tiny tensors, several threads only wait for each other
    checks = []
    for verdict in verdicts(plugin) if plugin is not None else architecture_verdicts(str(model_type)):
        checks.append(verdict)
        if form == "text":
            say(verdict)
    if form == "json":
        say_json([asdict(verdict) for verdict in checks])
    failed = [verdict for verdict in checks if verdict.state == "FAILED"]
    if failed:
        names = ", ".join(dict.fromkeys(f"{verdict.subject}: {verdict.check}" for verdict in failed))
        raise GateError(
            f"{len(failed)} of {len(checks)} checks failed ({names})", "the lines above say how to fix each"
        )
    skipped = sum(verdict.state == "skipped" for verdict in checks)
    say(f"{len(checks) - skipped} checks passed" + (f", {skipped} could not run here" if skipped else ""), err=True)
