"""The means that papers print of a run's methods: on other models their order may be compared, their numbers never."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokenbench.contract.cells import VANILLA
from tokenbench_reports.claims.comparing import method_of, shares, short_name
from tokenbench_reports.claims.consistency import SAME_SHARE, does_not_follow
from tokenbench_reports.claims.printed import MEAN_RETENTION, Claim, Printed, group_rows, ledger

if TYPE_CHECKING:
    from tokenbench.comparison import Comparison

__all__ = ["PublishedMean", "find_reversal", "published_means"]


@dataclass(frozen=True)
class PublishedMean:
    """A mean that a paper prints for a method, at a budget of the run."""

    strategy: str
    """The strategy of the run that is the method."""
    budget: str
    """The budget of the run, which is the same share of the visual tokens."""
    backbone: str
    """The model that the paper ran, by the ledger's name."""
    source: str
    """The paper."""
    kept: float
    """The mean of the accuracy kept over the paper's benchmarks, in per cent."""


def published_means(comparison: Comparison, model: str, claims: Sequence[Claim] | None = None) -> list[PublishedMean]:
    """Find the means that papers print of the methods of a comparison, at its budgets.

    Args:
        comparison: What was measured.
        model: The model.
        claims: The published numbers; by default the whole ledger.

    Returns:
        Those on this model, or those on other models if there are none. Rows whose numbers do not add up are left out.
    """
    summary = comparison.summary[comparison.summary["model"] == model]
    own = shares(summary)
    cells = summary.drop_duplicates(["strategy", "budget"])[["strategy", "budget"]].itertuples(index=False)
    known = [(str(strategy), str(budget)) for strategy, budget in cells if strategy != VANILLA]
    rows = group_rows(ledger() if claims is None else claims)
    found = [one for row in rows for one in _of_row(row, known, own)]
    return [one for one in found if one.backbone == short_name(model)] or found


def _of_row(row: Printed, cells: Sequence[tuple[str, str]], own: dict[str, float]) -> Iterator[PublishedMean]:
    mean = row.claims.get(MEAN_RETENTION)
    if mean is None or row.method == VANILLA or row.shifted or does_not_follow(row):
        return
    for strategy, budget in cells:
        if method_of(strategy) == row.method and abs(own.get(budget, float("nan")) - row.share) < SAME_SHARE:
            yield PublishedMean(strategy, budget, row.backbone, row.source, mean.value)


def find_reversal(
    published: Sequence[PublishedMean], budget: str, better: str, worse: Sequence[str]
) -> tuple[PublishedMean, PublishedMean] | None:
    """Find where a paper has the opposite order of what was shown here.

    Args:
        published: What papers print.
        budget: The budget.
        better: The strategy that was shown to be better here.
        worse: The strategies that it is better than.

    Returns:
        What the paper prints for one of ``worse``, and the lower number for ``better``: the pair that is furthest apart
        of all papers. None if no paper prints such a pair.
    """
    here = [one for one in published if one.budget == budget]
    pairs = [
        (above, below)
        for below in here
        for above in here
        if (above.source, above.backbone) == (below.source, below.backbone)
        and below.strategy == better
        and above.strategy in worse
        and above.kept > below.kept
    ]
    return max(pairs, key=lambda pair: pair[0].kept - pair[1].kept, default=None)
