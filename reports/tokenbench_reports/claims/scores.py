"""The scores that papers print for the models, tasks and budgets of a run, to stand beside the measured ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tokenbench.contract.cells import VANILLA
from tokenbench_reports.claims.comparing import OTHER_QUESTIONS, ledger_name, method_of, shares, short_name
from tokenbench_reports.claims.consistency import SAME_SHARE
from tokenbench_reports.claims.printed import Claim, Printed, group_rows, ledger

if TYPE_CHECKING:
    from tokenbench.comparison import Comparison

__all__ = ["PublishedScores", "published_scores"]

PER_CENT = 100.0
"""Scores above it are on another scale, such as MME's points."""


@dataclass(frozen=True)
class PublishedScores:
    """One row of a paper's table, as far as the run has its tasks."""

    strategy: str
    """The strategy of the run that is the method; vanilla for the paper's own unpruned model."""
    budget: str
    """The budget of the run; empty for vanilla."""
    source: str
    """The paper."""
    scores: Mapping[str, float]
    """By task of the run, the score in per cent."""
    corrected: bool
    """Whether numbers that stand in wrong columns in print were put right."""


def published_scores(
    comparison: Comparison, model: str, about: Mapping[str, Any], claims: Sequence[Claim] | None = None
) -> list[PublishedScores]:
    """Find the scores that papers print for this model, on tasks and at budgets of the run.

    Left out are scores that are not in per cent, tasks whose questions are others, and rows that are known to be wrong.
    There are none where budgets are matched by work, or later questions are asked of the same tokens.

    Args:
        comparison: What was measured.
        model: The model.
        about: The run's manifest.
        claims: The published numbers; by default the whole ledger.
    """
    spec = about.get("spec") or {}
    if spec.get("match", "nominal") != "nominal" or spec.get("turns", 1) > 1:
        return []
    rows = group_rows(ledger() if claims is None else claims)
    own = [row for row in rows if row.backbone == short_name(model) and row.put_right]
    tasks = {ledger_name(task, rows): task for task in comparison.tasks}
    return [one for row in own for one in _of_row(row, comparison, model, tasks)]


def _of_row(row: Printed, comparison: Comparison, model: str, tasks: Mapping[str, str]) -> Iterator[PublishedScores]:
    summary = comparison.summary[comparison.summary["model"] == model]
    scores = {
        tasks[name]: claim.right
        for name, claim in row.claims.items()
        if claim.unit == "score" and name in tasks and name not in OTHER_QUESTIONS and claim.right <= PER_CENT
    }
    if not scores:
        return
    if row.method == VANILLA:
        yield PublishedScores(VANILLA, "", row.source, scores, row.shifted)
        return
    share = shares(summary)
    cells = summary.drop_duplicates(["strategy", "budget"])[["strategy", "budget"]].itertuples(index=False)
    for strategy, budget in cells:
        if method_of(str(strategy)) == row.method and abs(share.get(budget, float("nan")) - row.share) < SAME_SHARE:
            yield PublishedScores(str(strategy), str(budget), row.source, scores, row.shifted)
