"""The commands that look at results: compare, plan and claims."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from tokenbench.commands.options import Finite, Place, flat, list_option, peek_option, plugin_option, show_scores
from tokenbench.errors import GateError, UsageError

__all__ = ["claims", "compare", "plan"]

CONDITION = (
    "Exit with 1 if it holds: clse<fastv@1/9 (shown to be worse), clse<=fastv@1/9 (not shown to be better), "
    "clse<=vanilla-1@1/9 (a loss of 1 point not ruled out)."
)


@click.command()
@click.argument("folders", metavar="RUN_A [RUN_B]", nargs=-1, required=True, type=Place())
@click.option("--fail-if", "conditions", multiple=True, metavar="CONDITION", help=CONDITION)
@click.option("--margin", type=Finite(min=0), help="Points of retention.  [default: the run's]")
@peek_option
@list_option("--format", "formats", default="terminal", help="Report formats.")
@click.option("-o", "--output", type=Place(file_okay=False), default=".", help="For files of a format.")
@plugin_option
def compare(
    folders: tuple[Path, ...],
    conditions: tuple[str, ...],
    margin: float | None,
    peek: bool,
    formats: Sequence[Sequence[str]],
    output: Path,
    plugin_files: tuple[str, ...],
) -> None:
    """Compare two runs in pairs, on the samples they share; or set conditions on one.

    Strategies of two runs are named A:clse and B:clse. The budget of a condition follows its last @. Every comparison is a look at
    the verdicts, which the run counts; with --peek it is none.
    """
    from tokenbench.comparison.gates import failed, parse_gate
    from tokenbench.plugins import Registry
    from tokenbench.store.joined import JoinedRuns
    from tokenbench.store.run import Run

    if len(folders) > 2:
        raise UsageError(f"compare takes one or two runs, not {len(folders)}")
    gates = [parse_gate(text) for text in conditions]
    known = Registry(plugin_files)
    writers = [known.get("reports", name)() for name in flat(formats)]
    runs = [Run.open(folder, known) for folder in folders]
    run = JoinedRuns(*runs) if len(runs) == 2 else runs[0]
    if peek:
        if gates:
            raise UsageError("--peek shows no verdicts for --fail-if to hold against", "leave one of them out")
        show_scores(run)
        return
    margins = {margin, *(gate.margin for gate in gates if gate.margin is not None)}
    comparisons = {value: run.compare(value) for value in margins}
    output.mkdir(parents=True, exist_ok=True)
    for writer in writers:
        writer.write(comparisons[margin], run, output, sys.stdout)
    reasons = [
        f"{gate.text}: {reason}"
        for gate in gates
        for reason in failed(gate, comparisons[margin if gate.margin is None else gate.margin])
    ]
    if reasons:
        raise GateError("gate failed: " + "; ".join(reasons))


@click.command()
@click.option("--difference", type=Finite(0, min_open=True), default=1.0, show_default=True, help="Points of score.")
@click.option("--samples", type=click.IntRange(1, 10**9), default=5000, show_default=True, help="Over all tasks.")
@click.option("--strategies", type=click.IntRange(1, 10**9), default=2, show_default=True, help="How many.")
@click.option("--budgets", type=click.IntRange(1, 10**9), default=3, show_default=True, help="How many.")
@click.option("--pilot", type=Place(), help="A run to measure the assumptions on.")
@click.option(
    "--discordance",
    type=Finite(0, 1, min_open=True),
    help="Share of samples on which two strategies differ.  [default: the pilot's, or 0.18]",
)
@click.option("--deff", type=Finite(min=1), help="Design effect of a difference.  [default: the pilot's, or 1.3]")
@click.option("--seconds", type=Finite(min=0), help="Of one answer.  [default: the pilot's]")
def plan(
    difference: float, samples: int, strategies: int, budgets: int, pilot: Path | None, **given: float | None
) -> None:
    """How many samples a difference needs, how wide intervals will be, how many device hours it takes."""
    from dataclasses import replace

    from tokenbench.comparison.planning import Assumptions, assumed
    from tokenbench.comparison.planning import plan as planned
    from tokenbench.store.run import Run

    about = assumed(Run.open(pilot).samples()) if pilot else Assumptions()
    about = replace(about, **{name: value for name, value in given.items() if value is not None})
    for line in planned(difference, samples, strategies, budgets, about).lines():
        click.echo(line)


@click.command()
@list_option("--methods", help="Only these methods.")
@list_option("--backbones", help="Only these backbones.")
@click.option("--audit", "only_audit", is_flag=True, help="Only what does not add up.")
def claims(only_audit: bool, **chosen: Sequence[Sequence[str]]) -> None:
    """List the published numbers, and what does not add up in them."""
    from tokenbench.claims import audit, ledger, printed_rows
    from tokenbench.errors import unknown

    rows = printed_rows(ledger())
    for option, values in chosen.items():
        field = option.removesuffix("s")
        there = {str(getattr(row, field)) for row in printed_rows(ledger())}
        names = flat(values)
        for name in names:
            if name not in there:
                raise unknown(f"{field} of the ledger", name, there)
        rows = [row for row in rows if not names or getattr(row, field) in names]
    if not only_audit:
        for row in rows:
            click.echo(row)
    findings = list(audit(rows))
    count = sum(len(row.claims) for row in rows)
    click.echo(
        f"{count} published numbers; the audit finds {len(findings)} that do not add up" + (":" if findings else "")
    )
    for finding in findings:
        click.echo(f"  {finding}")
