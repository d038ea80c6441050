"""The commands that look at results: compare, plan and claims."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tokenbench.commands.options import Finite, Place, flat, list_option, plugin_option, whole_numbers
from tokenbench.errors import GateError, UsageError

if TYPE_CHECKING:
    from tokenbench.comparison.planning import Assumptions

__all__ = ["claims", "compare", "piloted", "plan"]

CONDITION = (
    "Exit with 1 if it holds: clse<fastv@1/9 (shown to be worse), clse<=fastv@1/9 (not shown to be better), "
    "clse<=vanilla-1@1/9 (a loss of 1 point not ruled out)."
)


@click.command()
@click.argument("folders", metavar="RUN_A [RUN_B]", nargs=-1, required=True, type=Place())
@click.option("--fail-if", "conditions", multiple=True, metavar="CONDITION", help=CONDITION)
@click.option("--margin", type=Finite(min=0), default=1.0, show_default=True, help="Points of retention.")
@list_option("--format", "formats", default="terminal", help="Report formats.")
@click.option("-o", "--output", type=Place(file_okay=False), default=".", help="For files of a format.")
@plugin_option
def compare(
    folders: tuple[Path, ...],
    conditions: tuple[str, ...],
    margin: float,
    formats: Sequence[Sequence[str]],
    output: Path,
    plugin_files: tuple[str, ...],
) -> None:
    """Compare two runs in pairs, on the samples they share; or set conditions on one.

    Strategies of two runs are named A:clse and B:clse. The budget of a condition follows its last @.
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
@click.option("--difference", type=Finite(0.001, 100), default=1.0, show_default=True, help="Points of retention.")
@click.option(
    "--margin",
    type=Finite(0.001, 100),
    default=1.0,
    show_default=True,
    help="Of `run`, points of retention.",
)
@click.option(
    "--samples", type=click.IntRange(1, 10**9), help="Over all tasks.  [default: the sum of --sizes, or 5000]"
)
@list_option(
    "--sizes", help="Samples of each task, as gqa=12578,pope=8910 or 12578,8910.  [default: the pilot's, or equal]"
)
@click.option(
    "--strategies", type=click.IntRange(1, 10**6), default=2, show_default=True, help="How many, floors included."
)
@click.option("--budgets", type=click.IntRange(1, 10**6), default=3, show_default=True, help="How many.")
@click.option("--pilot", type=Place(), help="A run to measure the assumptions on.")
@click.option(
    "--discordance",
    type=Finite(0, 1, min_open=True),
    help="Share of samples on which two strategies differ.  [default: the pilot's by task, or 0.18]",
)
@click.option(
    "--deff", type=Finite(1, 10**6), help="Design effect of a difference.  [default: the pilot's by task, or 1.3]"
)
@click.option("--score", type=Finite(0.001, 1), help="Vanilla's score, 0 to 1.  [default: the pilot's by task, or 0.7]")
@click.option("--questions", type=Finite(1, 10**6), help="Questions an image.  [default: the pilot's by task, or 2]")
@click.option("--seconds", type=Finite(min=0), help="Of one answer.  [default: the pilot's]")
def plan(
    difference: float,
    margin: float,
    samples: int | None,
    sizes: Sequence[Sequence[str]],
    strategies: int,
    budgets: int,
    pilot: Path | None,
    **given: float | None,
) -> None:
    """How many samples a verdict takes, how wide intervals will be, how many device hours it takes.

    Every number of samples is for a power of 80 %: of ten such runs eight reach the verdict.
    """
    from tokenbench.comparison.planning import Assumptions
    from tokenbench.comparison.planning import plan as planned

    parts = [part for given_sizes in sizes for part in given_sizes]
    found = piloted(pilot, sized=bool(parts)) if pilot else {"": Assumptions.default()}
    for at, about in enumerate(found.values()):
        named = _sizes(parts, tuple(about.between) if pilot else ())
        about = (about if pilot or not named else Assumptions.default(tuple(named))).changed(named, **given)
        if at:
            click.echo()
        for line in planned(
            difference, margin, samples or sum(named.values()) or 5000, strategies, budgets, about
        ).lines():
            click.echo(line)


def piloted(folder: Path, sized: bool) -> dict[str, Assumptions]:
    """What a pilot run says, by model. sized: whether the user gives the sizes of the tasks."""
    from dataclasses import replace

    from tokenbench.comparison.planning import assumed
    from tokenbench.store.run import Run

    run = Run.open(folder)
    found = assumed(run.units(), run.manifest["spec"]["floors"])
    if not found:
        raise UsageError(
            f"{folder} holds answers of vanilla alone, which say nothing of a difference", "run a strategy in it"
        )
    limit = run.manifest["spec"]["limit"]
    if limit and not sized:
        note = f"The pilot asked {limit} samples of each task: they are taken to be of equal size unless --sizes says otherwise."
        found = {name: replace(about, origin=f"{note}\n{about.origin}") for name, about in found.items()}
    return found


def _sizes(parts: Sequence[str], tasks: Sequence[str]) -> dict[str, int]:
    """Sizes by task, of texts like ``gqa=12578`` or ``12578``.

    tasks: those of the pilot, all of which must be named, or counted, where any is; without a pilot any are welcome.
    """
    names, texts = [part.rpartition("=")[0] for part in parts], [part.rpartition("=")[2] for part in parts]
    numbers = whole_numbers("--sizes", texts, least=1)
    if not any(names):
        names = list(tasks) if tasks else [f"task {at}" for at in range(1, len(texts) + 1)]
    fits = len(names) == len(set(names)) == len(texts) and all(names) and set(names) == set(tasks or names)
    if parts and not fits:
        expected = ", ".join(f"{name}=N" for name in tasks) or "each task once, all with a name or none"
        raise UsageError(f"--sizes {','.join(parts)[:100]} does not fit", f"it takes {expected}")
    return dict(zip(names, numbers, strict=True)) if parts else {}


@click.command()
@list_option("--methods", help="Only these methods.")
@list_option("--backbones", help="Only these backbones.")
@click.option("--audit", "only_audit", is_flag=True, help="Only what does not add up, and where two sources differ.")
def claims(only_audit: bool, **chosen: Sequence[Sequence[str]]) -> None:
    """List the published numbers, what does not add up in them, and where two sources differ."""
    from tokenbench.claims import DIFFER, audit, differing, ledger, printed_rows
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
    wrong, apart = list(audit(rows)), list(differing(rows))
    click.echo(f"{sum(len(row.claims) for row in rows)} published numbers")
    _listed(f"{len(wrong)} that do not add up in print", wrong)
    _listed(
        f"{len(apart)} on which two sources differ by more than {DIFFER:g} points (versions, prompts or schedules may differ; neither need be wrong)",
        apart,
    )


def _listed(what: str, findings: Sequence[str]) -> None:
    click.echo(what + (":" if findings else ""))
    for finding in findings:
        click.echo(f"  {finding}")
