"""The command that lists published numbers."""

from __future__ import annotations

from collections.abc import Sequence

import click

from tokenbench.commands.options import examples, flat, list_option
from tokenbench.commands.output import say
from tokenbench.errors import unknown
from tokenbench_reports.claims import DIFFER, audit, find_differing, group_rows, ledger

__all__ = ["claims"]


@click.command(
    epilog=examples("tokenbench claims --methods clse --backbones llava-1.5-7b", "tokenbench claims --audit")
)
@list_option("--methods", help="Methods to list.  [default: all]")
@list_option("--backbones", help="Backbones to list.  [default: all]")
@click.option(
    "--audit",
    "only_audit",
    is_flag=True,
    help="Show only numbers that are inconsistent, and those on which two sources differ.",
)
def claims(only_audit: bool, **chosen: Sequence[Sequence[str]]) -> None:
    """List published numbers, and where they are inconsistent.

    A number may contradict others of its own source, or a second source.
    """
    rows = group_rows(ledger())
    for option, values in chosen.items():
        field = option.removesuffix("s")
        there = {str(getattr(row, field)) for row in group_rows(ledger())}
        names = flat(values)
        for name in names:
            if name not in there:
                raise unknown(f"{field} of the ledger", name, there)
        rows = [row for row in rows if not names or getattr(row, field) in names]
    if not only_audit:
        for row in rows:
            say(row)
    wrong, apart = list(audit(rows)), list(find_differing(rows))
    say(f"{sum(len(row.claims) for row in rows)} published numbers")
    _print_findings(f"{len(wrong)} inconsistencies within one source", wrong)
    _print_findings(
        f"{len(apart)} rows on which two sources differ by more than {DIFFER:g} points (both may be right: versions, prompts or schedules may differ)",
        apart,
    )


def _print_findings(what: str, findings: Sequence[str]) -> None:
    say(what + (":" if findings else ""))
    for finding in findings:
        say(f"  {finding}")
