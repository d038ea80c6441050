"""Numbers in what the code of a task returns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["as_number", "find_number", "flatten"]


def as_number(value: Any) -> float | None:
    """A value as a finite number; None if it is none. The first item of a tuple counts, as for lmms-eval."""
    if isinstance(value, tuple) and value:
        value = value[0]
    try:
        number = None if value is None or isinstance(value, str | Mapping) else float(value)
    except (TypeError, ValueError):
        return None
    return number if number is not None and math.isfinite(number) else None


def find_number(record: Any, fields: Sequence[str] = (), evaluator: Any = None) -> float | None:
    """The number in what a task notes for one answer: itself, or the field that is named like a score.

    Args:
        record: What the task noted.
        fields: The names of fields that may hold it, if they are known.
        evaluator: The scorer of MMBench, if the task has it.
    """
    if not isinstance(record, Mapping):
        return as_number(record)
    if evaluator is not None and "prediction" in record:
        return _is_right(evaluator, record)
    keys = [name for name in fields if name in record] + [name for name in record if str(name).endswith("score")]
    return as_number(record[keys[0]]) if keys else None


def flatten(name: str, value: Any) -> dict[str, float]:
    """Numbers by name; those of a mapping with its keys."""
    if isinstance(value, Mapping):
        return {k: v for key, inner in value.items() for k, v in flatten(f"{name}.{key}", inner).items()}
    number = as_number(value)
    return {} if number is None else {name: number}


def _is_right(evaluator: Any, record: Mapping[str, Any]) -> float:
    """Whether one rotation of an MMBench question is right, by the rules of its scorer."""
    import pandas as pd

    row = {key if key in "ABCD" else key.lower(): value for key, value in record.items()}
    row["prediction"] = str(row["prediction"])
    return float(evaluator.eval_sub_data(pd.DataFrame([row]), {row["index"]: row["answer"]}, static_only=True))
