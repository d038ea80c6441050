"""The command that lists published numbers."""

from __future__ import annotations

from collections.abc import Sequence

import click

from tokenbench.commands.options import flat, list_option
from tokenbench.commands.output import say
from tokenbench.errors import unknown
from tokenbench_reports.claims import DIFFER, audit, differing, ledger, printed_rows

__all__ = ["claims"]


@click.command()
@list_option("--methods", help="Only these methods.")
@list_option("--backbones", help="Only these backbones.")
@click.option("--audit", "only_audit", is_flag=True, help="Only what does not add up, and where two sources differ.")
def claims(only_audit: bool, **chosen: Sequence[Sequence[str]]) -> None:
    """List the published numbers, what does not add up in them, and where two sources differ."""
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
            say(row)
    wrong, apart = list(audit(rows)), list(differing(rows))
    say(f"{sum(len(row.claims) for row in rows)} published numbers")
    _listed(f"{len(wrong)} that do not add up in print", wrong)
    _listed(
        f"{len(apart)} on which two sources differ by more than {DIFFER:g} points (versions, prompts or schedules may differ; neither need be wrong)",
        apart,
    )


def _listed(what: str, findings: Sequence[str]) -> None:
    say(what + (":" if findings else ""))
    for finding in findings:
        say(f"  {finding}")
