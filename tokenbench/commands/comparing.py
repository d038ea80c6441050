"""The command that compares runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from tokenbench.commands.opening import make_writers, open_run, with_details
from tokenbench.commands.options import (
    Finite,
    Place,
    data_of_run_option,
    details_option,
    examples,
    flat,
    list_option,
    offline_command,
    peek_option,
    plugin_option,
    show_scores,
    tasks_dir_option,
)
from tokenbench.commands.reporting import say_written
from tokenbench.errors import GateError, UsageError

__all__ = ["compare"]

CONDITION = (
    "Exit with 1 if this condition holds: clse<fastv@1/9 (clse is shown to be worse), clse<=fastv@1/9 (clse is not shown to be "
    "better), clse<=vanilla-1@1/9 (a loss of 1 point is not ruled out). The budget follows the last @. May be repeated."
)


@click.command(
    epilog=examples(
        "tokenbench compare my-run",
        'tokenbench compare my-run --fail-if "clse<fastv@1/9"',
        "tokenbench compare monday tuesday wednesday",
    )
)
@click.argument("folders", metavar="RUN...", nargs=-1, required=True, type=Place())
@click.option("--fail-if", "conditions", multiple=True, metavar="CONDITION", help=CONDITION)
@click.option(
    "--margin",
    type=Finite(min=0),
    help="Margin of non-inferiority, in points of accuracy kept.  [default: the run's]",
)
@list_option("--strategies", help="Compare only these strategies, with vanilla and with each other.")
@peek_option
@list_option("--format", "formats", default="terminal", help="Report formats to write.")
@details_option
@click.option(
    "-o",
    "--output",
    type=Place(file_okay=False),
    default=".",
    show_default=True,
    help="Folder for the files of report formats.",
)
@tasks_dir_option
@data_of_run_option
@plugin_option
@offline_command
def compare(  # noqa: PLR0913 (an option each)
    folders: tuple[Path, ...],
    conditions: tuple[str, ...],
    margin: float | None,
    strategies: Sequence[Sequence[str]],
    peek: bool,
    formats: Sequence[Sequence[str]],
    details: bool,
    output: Path,
    plugin_files: tuple[str, ...],
    **named: Sequence[Sequence[str]],
) -> None:
    """Compare the strategies of one run, or of several.

    Several runs are compared on the samples they share. Where two runs have other answers for the same strategy, it appears as clse#A and clse#B. Every comparison counts as a
    look at the verdicts, unless --peek is given.
    """
    from tokenbench.comparison.gates import check_names, explain_failure, parse_gate
    from tokenbench.registry.plugins import Registry
    from tokenbench.store.files import sweep
    from tokenbench.store.joined import JoinedRuns

    gates = [parse_gate(text) for text in conditions]
    registry = Registry(plugin_files)
    writers = make_writers(with_details(flat(formats), details), registry)
    runs = [open_run(folder, named, registry) for folder in folders]
    run = JoinedRuns(*runs) if len(runs) > 1 else runs[0]
    if peek:
        if gates:
            raise UsageError(
                "--peek computes no verdicts, so that --fail-if has nothing to test", "give only one of them"
            )
        show_scores(run)
        return
    if gates:  # before anything is computed: a comparison counts as a look
        chosen = flat(strategies)
        cells = run.measured[["strategy", "budget"]].drop_duplicates().astype(str)
        there = [(name, budget) for name, budget in cells.to_numpy() if not chosen or name in chosen]
        for gate in gates:
            check_names(gate, there)
    margins = {margin, *(gate.margin for gate in gates if gate.margin is not None)}
    comparisons = {value: run.compare(value, strategies=flat(strategies)) for value in margins}
    output.mkdir(parents=True, exist_ok=True)
    sweep(output, output)
    written = [path for writer in writers for path in writer.write(comparisons[margin], run, output, sys.stdout)]
    say_written(written, output)
    reasons = [
        f"{gate.text}: {reason}"
        for gate in gates
        for reason in explain_failure(gate, comparisons[margin if gate.margin is None else gate.margin])
    ]
    if reasons:
        raise GateError("gate failed: " + "; ".join(reasons))
