"""The score of one answer, as other tools note it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tokenbench.errors import UsageError
from tokenbench_tools.importing.logged import Log, Row, Source

__all__ = ["FAILED", "check_scale", "find_score", "has_failed", "mean_score"]

FAILED = "Failed to obtain answer"
"""How answers of VLMEvalKit begin that are none, since the model could not be reached."""
EXACT = 1e-6


def find_score(record: Mapping[str, Any], metrics: Sequence[str], key: str = "score") -> tuple[str, float] | None:
    """Return the first of the metrics that gives a record of lmms-eval a number, and this number; None if none does.

    A score that is NaN belongs to its metric, if no other one has a number: its row has no answer.
    """
    gap = None
    for metric in metrics:
        value = record.get(metric)
        number = value.get(key) if isinstance(value, Mapping) else value
        if isinstance(number, bool | int | float) and not math.isnan(number):
            return metric, float(number)
        if isinstance(number, float) and gap is None:
            gap = metric, number
    return gap


def has_failed(row: Row) -> bool:
    """Whether a row is no answer: it has no score, a score below 0, or says that there was none."""
    return row.score is None or not row.score >= 0 or (row.answer or "").startswith(FAILED)


def check_scale(log: Log, source: Source) -> None:
    """Check that scores lie between 0 and 1, as far as there are any.

    Raises:
        UsageError: One does not. It is not rescaled, since nothing says how.
    """
    if wrong := next((row for row in log.rows if row.score is not None and row.score > 1), None):
        raise UsageError(
            f"{source.name}: the score of sample {wrong.id} of {log.task} is {wrong.score:g} by {log.metric}, and scores must be from 0 to 1",
            "divide percentages by 100"
            if source.tool == "table"
            else f"choose another metric with --metric {log.task}=NAME",
        )


def mean_score(log: Log) -> float:
    """Return the mean of all scores; NaN if there is none."""
    scores = [row.score for row in log.rows if row.score is not None and not math.isnan(row.score)]
    return sum(scores) / len(scores) if scores else math.nan
