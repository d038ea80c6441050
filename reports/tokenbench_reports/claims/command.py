"""The command that lists published numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import click

from tokenbench.commands.options import examples, flat, list_option
from tokenbench.commands.output import say, say_json
from tokenbench.errors import unknown
from tokenbench_reports.claims import DIFFER, Claim, audit, find_differing, group_rows, ledger

__all__ = ["claims"]

COLUMNS = ("id", "source", "method", "backbone", "budget", "task", "value", "unit", "corrected", "note")


@click.command(
    epilog=examples(
        "tokenbench claims --methods clse --backbones llava-1.5-7b",
        "tokenbench claims --methods holov,scope --tasks gqa --budgets 64 --format csv",
        "tokenbench claims --audit",
    )
)
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
def claims(form: str, only_audit: bool, **chosen: Sequence[Sequence[str]]) -> None:
    """List published numbers, and where they are inconsistent.

    A number may contradict others of its own source, or a second source.
    """
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
