"""What papers print for the strategies of a run on another model, to compare orders with, never numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenbench.contract.cells import VANILLA
from tokenbench_reports.claims.consistency import SAME_SHARE
from tokenbench_reports.claims.printed import MEAN_RETENTION, Claim, Printed, group_rows, ledger

__all__ = ["BACKBONE", "Elsewhere", "published_elsewhere"]

BACKBONE = "llava-1.5-7b"
"""The model that most papers report on."""


@dataclass(frozen=True)
class Elsewhere:
    """A published accuracy retention over all tasks of its source."""

    strategy: str
    """The strategy, by the run's name."""
    budget: str
    """The budget of the run that is the same share of the visual tokens."""
    tokens: str
    """The budget as the source counts it."""
    source: str
    """The first words of the source: a method, or authors."""
    retention: float
    """The retention, in per cent."""


def published_elsewhere(
    strategies: Sequence[str], shares: Mapping[str, float], claims: Sequence[Claim] | None = None
) -> list[Elsewhere]:
    """Find what papers print for these strategies on ``BACKBONE``.

    Args:
        strategies: The run's strategies. Of two runs together, ``A:clse`` stands for clse.
        shares: The run's budgets, each as a share of the visual tokens.
        claims: The published numbers; by default the whole ledger.

    Returns:
        One entry for each strategy, budget and source, in this order. A mean whose row is printed in wrong columns is
        computed anew from the corrected row, or left out where nobody has corrected it.
    """
    printed = [row for row in group_rows(ledger() if claims is None else claims) if row.backbone == BACKBONE]
    found = []
    for strategy in strategies:
        method = strategy.removeprefix("A:").removeprefix("B:")
        rows = [row for row in printed if row.method == method != VANILLA]
        for budget, share in shares.items():
            for row in rows:
                mean = _mean(row)
                if mean is not None and abs(_share(row) - share) < SAME_SHARE:
                    source = row.source.partition(",")[0]
                    found.append(Elsewhere(strategy, budget, row.budget, source, mean))
    return found


def _share(row: Printed) -> float:
    """The budget as a share of the backbone's 576 visual tokens; NaN if it is not one."""
    try:
        return float(row.budget) / 576
    except ValueError:
        return float("nan")


def _mean(row: Printed) -> float | None:
    if MEAN_RETENTION not in row.claims:
        return None
    if not row.shifted:
        return row.claims[MEAN_RETENTION].value
    return sum(row.cells.values()) / len(row.cells) if row.put_right and row.cells else None
