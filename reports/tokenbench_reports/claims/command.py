"""The command that lists published numbers, alone or beside those of a run."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import click

from tokenbench.commands.options import Place, examples, flat, list_option
from tokenbench.commands.output import say, say_json
from tokenbench.errors import UsageError, unknown
from tokenbench_reports.claims import DIFFER, Claim, audit, compare_claims, find_differing, group_rows, ledger

__all__ = ["claims"]

COLUMNS = ("id", "source", "method", "backbone", "budget", "task", "value", "unit", "corrected", "note")


@click.command(
    epilog=examples(
        "tokenbench claims --methods holov,scope --tasks gqa --budgets 64 --format csv",
        "tokenbench claims --audit",
        "tokenbench claims my-run",
    )
)
@click.argument("folder", metavar="[RUN]", required=False, type=Place())
@list_option("--methods", help="Methods to list.  [default: all]")
@list_option("--backbones", help="Backbones to list.  [default: all]")
@list_option("--tasks", help="Tasks to list.  [default: all]")
@list_option("--budgets", help="Budgets to list, as the papers print them.  [default: all]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="Output format. csv and json have one number a row, with the id that verify takes.",
)
@click.option(
    "--audit",
    "only_audit",
    is_flag=True,
    help="Show only numbers that are inconsistent, and those on which two sources differ.",
)
def claims(folder: Path | None, form: str, only_audit: bool, **chosen: Sequence[Sequence[str]]) -> None:
    """List published numbers, and where they are inconsistent.

    A number may contradict others of its own source, or a second source. With a run, the numbers on its models, methods and budgets
    are listed beside what it measured, each with a verdict; this is a look at the run.
    """
    if folder is not None:
        if only_audit or any(flat(values) for values in chosen.values()):
            raise UsageError("a run decides which numbers are listed, so that it takes neither filters nor --audit")
        _beside(folder, form)
        return
    found = list(ledger())
    for option, values in chosen.items():
        field, names = option.removesuffix("s"), flat(values)
        there = {str(getattr(claim, field)) for claim in ledger()}
        for name in names:
            if name not in there:
                raise unknown(f"{field} of the ledger", name, there)
        found = [claim for claim in found if not names or getattr(claim, field) in names]
    if form == "json":
        say_json([_record(claim) for claim in found])
    elif form == "csv":
        say(*_csv(found).splitlines())
    else:
        _print_table(found, only_audit)


def _beside(folder: Path, form: str) -> None:
    """Print the published numbers that a run speaks of, beside its own."""
    import json

    from tokenbench.store.run import Run
    from tokenbench.tables import text_table
    from tokenbench_reports.beside import published

    run = Run.open(folder)
    comparison, about = run.compare(), run.about()
    held = compare_claims(comparison, about)
    if form == "json":
        say_json(json.loads(held.to_json(orient="records")))
    elif form == "csv":
        say(*held.to_csv(index=False, lineterminator="\n").splitlines())
    else:
        tables = [(model, table) for model in comparison.models for table in published(comparison, model, about)]
        for model, table in tables:
            say(f"{model}: {table.title}", *text_table(table).splitlines(), table.note)
        if not tables:
            say(f"the ledger has no number for the methods and budgets of {folder}")


def _print_table(found: Sequence[Claim], only_audit: bool) -> None:
    """Print rows of the papers' tables, and what does not add up in whole rows."""
    if not only_audit:
        for row in group_rows(found):
            say(row)
    there = {(claim.source, claim.method, claim.backbone, claim.budget) for claim in found}
    rows = [row for row in group_rows(ledger()) if (row.source, row.method, row.backbone, row.budget) in there]
    wrong, apart = list(audit(rows)), list(find_differing(rows))
    say(f"{len(found)} published numbers")
    _print_findings(f"{len(wrong)} inconsistencies within one source", wrong)
    _print_findings(
        f"{len(apart)} rows on which two sources differ by more than {DIFFER:g} points (both may be right: versions, prompts or schedules may differ)",
        apart,
    )


def _record(claim: Claim) -> dict[str, object]:
    return {name: getattr(claim, name) for name in COLUMNS}


def _csv(found: Sequence[Claim]) -> str:
    out = io.StringIO()
    table = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(map(_record, found))
    return out.getvalue()


def _print_findings(what: str, findings: Sequence[str]) -> None:
    say(what + (":" if findings else ""))
    for finding in findings:
        say(f"  {finding}")
