"""The command that says how a published number can be verified, and whether a run did."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tokenbench.commands.options import Place, examples, plugin_option
from tokenbench.commands.output import say
from tokenbench.contract.budget import Budget
from tokenbench.contract.cells import VANILLA
from tokenbench.errors import UsageError
from tokenbench_reports.claims import Claim, group_rows, ledger
from tokenbench_reports.claims.comparing import OTHER_QUESTIONS, compare_claims, method_of
from tokenbench_reports.claims.consistency import SAME_SHARE
from tokenbench_reports.claims.printed import MEAN_RETENTION, Printed

if TYPE_CHECKING:
    from tokenbench.comparison import Comparison
    from tokenbench.contract.suite import Task
    from tokenbench.registry.plugins import Registry
    from tokenbench.store.run import Run

__all__ = ["Verification", "find_claim", "judge_claim", "measured_hours", "plan_verification", "verify"]

SUITE = "image-public"
SIZE = re.compile(r"([\d,]+) (?:questions|rows)")


@dataclass(frozen=True)
class Verification:
    """What it takes to verify a published number."""

    claim: Claim
    """The number."""
    tasks: Mapping[str, int]
    """The tasks to run, each with its number of samples."""
    command: str
    """The command that runs the method and vanilla on them."""

    @property
    def answers(self) -> int:
        """The number of answers: the method's and vanilla's."""
        return 2 * sum(self.tasks.values())


def find_claim(wanted: str) -> Claim:
    """Return the number with this id, or raise UsageError."""
    for claim in ledger():
        if claim.id == wanted:
            return claim
    raise UsageError(
        f"the ledger holds no number with the id '{wanted:.20}'", "tokenbench claims --format csv lists the ids"
    )


def plan_verification(claim: Claim, registry: Registry) -> Verification:
    """Return what it takes to verify a number.

    Raises:
        UsageError: It is no accuracy of a method, or its method, model, budget or task does not run here.
    """
    if claim.method == VANILLA or not (claim.unit == "score" or claim.task == MEAN_RETENTION):
        raise UsageError(
            f"{claim.id} is {claim.task} of {claim.method}, in {claim.unit}: only the accuracy of a method can be verified"
        )
    for kind, name in (("strategies", claim.method), ("backbones", claim.backbone)):
        if name not in registry.names(kind):
            raise UsageError(f"{claim.id} is about '{name}', which is none of the {kind} that are installed")
    Budget.parse(claim.budget)
    tasks = _tasks_of(claim, registry)
    dtype = registry.get("strategies", claim.method).released_dtype or "float16"
    words = ["tokenbench", "run", "--suite", SUITE, "--tasks", ",".join(tasks), "--models", claim.backbone]
    words += ["--strategies", claim.method, "--budgets", claim.budget, "--dtype", dtype]
    return Verification(claim, tasks, shlex.join([*words, "--no-floors", "-o", f"verify-{claim.id}"]))


def _tasks_of(claim: Claim, registry: Registry) -> dict[str, int]:
    """Return the tasks of the suite that the number is about, each with its number of samples."""
    from tokenbench.registry.suites import suite_alone

    row = next(row for row in group_rows(ledger()) if claim in row.claims.values())
    named = list(row.cells) if claim.task == MEAN_RETENTION else [claim.task]
    there = suite_alone(SUITE, registry).tasks
    found: dict[str, int] = {}
    for name in named:
        if name in OTHER_QUESTIONS:
            raise UsageError(f"{claim.id} cannot be verified: {OTHER_QUESTIONS[name]}")
        task = next((task for task in there if task.name == name or task.name.startswith(f"{name}_")), None)
        if task is None:
            raise UsageError(
                f"{claim.id} is about the task '{name}', which is not in the suite {SUITE}",
                f"that suite has {', '.join(task.name for task in there)}",
            )
        found[task.name] = _samples_of(task)
    if not found:
        raise UsageError(f"{claim.id} is a mean whose tasks the ledger does not hold")
    return found


def _samples_of(task: Task) -> int:
    """Return the number of samples that a task's notes state, without its data."""
    stated = SIZE.search(task.notes.get("size", ""))
    return int(stated[1].replace(",", "")) if stated else 0


def judge_claim(
    claim: Claim, comparison: Comparison, about: Mapping[str, Any], claims: Sequence[Claim] | None = None
) -> list[str]:
    """Say how a number stands beside a comparison.

    Args:
        claim: The number.
        comparison: What was measured.
        about: The run's manifest.
        claims: The published numbers, this one among them; by default the whole ledger.

    Returns:
        A sentence with the verdict; none if the comparison does not hold the cell of the number.
    """
    own = [one for one in (ledger() if claims is None else claims) if one.source == claim.source]
    row_of = next(row for row in group_rows(own) if claim in row.claims.values())
    held = compare_claims(comparison, about, own)
    return [
        f"{row['verdict']}: {claim.source} prints {100 * row['claimed']:.1f} % of the accuracy, and {100 * row['measured']:.1f} % "
        f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}] was measured ({row['strategy']} at {row['budget']} on {row['model']})"
        + (f": {row['why']}" if row["why"] else "")
        for row in held.to_dict("records")
        if method_of(row["strategy"]) == claim.method and row["task"] == claim.task and _is_at(row["budget"], row_of)
    ]


def _is_at(budget: str, row: Printed) -> bool:
    """Whether a run's budget is that of a printed row."""
    share = Budget.read(budget).share
    return budget == row.budget or (share is not None and abs(float(share) - row.share) < SAME_SHARE)


def measured_hours(plan: Verification, run: Run) -> float:
    """Return the hours that all answers take at the speed of a run of the same model; NaN if it holds none."""
    seconds = run.samples(["seconds"])
    own = seconds[seconds["strategy"].isin((VANILLA, plan.claim.method))]["seconds"]
    return float(own.mean()) * plan.answers / 3600 if len(own) else float("nan")


@click.command(epilog=examples("tokenbench verify 431436c3", "tokenbench verify 431436c3 verify-431436c3"))
@click.argument("claim_id", metavar="CLAIM")
@click.argument("folder", metavar="[RUN]", required=False, type=Place())
@plugin_option
def verify(claim_id: str, folder: Path | None, plugin_files: Sequence[str]) -> None:
    """Say how a published number can be verified, and whether a run did.

    CLAIM is an id that `tokenbench claims --format csv` lists. Without a run, the command, its samples and their number are printed. With
    the run of that command, the verdict is printed, which is a look at the run. A run with a --limit tells how many hours the whole takes.
    """
    from tokenbench.registry.plugins import Registry
    from tokenbench.store.run import Run

    claim, registry = find_claim(claim_id), Registry(plugin_files)
    plan = plan_verification(claim, registry)
    shown = f"{claim.value:g} %" if claim.unit == "percent" else f"{claim.value:g}"
    say(f"{claim.source}: {claim.method} on {claim.backbone} at {claim.budget}, {claim.task}: {shown}")
    if folder is None:
        say(plan.command)
        sizes = ", ".join(f"{name} ({count:,})" if count else name for name, count in plan.tasks.items())
        say(f"samples: {sizes}; {plan.answers:,} answers with vanilla's")
        say("hours: run the command with --limit 20 first, and give its folder to this command")
        return
    run = Run.open(folder, registry)
    if run.manifest["spec"]["limit"]:
        hours = measured_hours(plan, run)
        said = "an unknown number of hours" if isnan(hours) else f"about {hours:.1f} hours"
        say(f"{said} for {plan.answers:,} answers at the speed of {folder}")
        return
    verdicts = judge_claim(claim, run.compare(), run.about())
    say(*(verdicts or [f"{folder} holds no finished cell of {claim.method} at {claim.budget} on {claim.backbone}"]))
