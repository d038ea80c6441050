"""The tables in a run's folder `report`, against those that its answers give."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from tokenbench.contract.cells import CELL
from tokenbench.errors import TokenBenchError
from tokenbench.store import files
from tokenbench.store.report_files import csv_text
from tokenbench.store.run import Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["check_tables"]

KEYS = {
    "summary": (*CELL, "task"),
    "pairs": ("model", "budget", "task", "a", "b", "family"),
}
"""The tables that are recomputed, and what names a row."""
DIGITS = 9
"""The digits to which numbers have to agree: the last ones depend on the machine."""
Compare = Callable[[Any, Any, str], None]
"""Takes a stored number, the one that was found, and what it is."""


def check_tables(run: Run, compare: Compare, wrong: list[str]) -> None:
    """Check the tables that the run's folder `report` holds.

    Args:
        run: The run, whose comparison is computed.
        compare: Takes every stored number and the one that the answers give.
        wrong: Takes sentences on files that cannot be read, and on rows that are missing.
    """
    there = set(files.names(run.folder / "report", run.folder))
    comparison = run.compare()
    found = {"summary": comparison.summary, "pairs": comparison.pairs}
    for name, table in found.items():
        if f"{name}.csv" in there:
            _check(
                f"report/{name}.csv", _read_csv(run, name, wrong), _parse(csv_text(table)), KEYS[name], compare, wrong
            )
    if "report.json" in there:
        stored = _read_json(run, wrong)
        for name, table in found.items():
            rows = [{str(column): value for column, value in row.items()} for row in table.to_dict("records")]
            _check(f"report/report.json: {name}", stored.get(name), rows, KEYS[name], compare, wrong)


def _check(
    file: str,
    stored: Sequence[Mapping[str, Any]] | None,
    found: Sequence[Mapping[str, Any]],
    key: Sequence[str],
    compare: Compare,
    wrong: list[str],
) -> None:
    """Compare two tables row by row."""
    if stored is None:
        return
    rows = {tuple(str(row.get(name)) for name in key): row for row in found}
    for row in stored:
        name = tuple(str(row.get(column)) for column in key)
        own = rows.pop(name, None)
        if own is None:
            wrong.append(f"{file} has a row that the answers do not give: {', '.join(name)}")
            continue
        for column, value in row.items():
            if column not in key and column in own:
                compare(_round(value), _round(own[column]), f"{file}: {column} of {', '.join(name)}")
    if rows:
        wrong.append(f"{file} lacks {len(rows)} rows that the answers give, such as {', '.join(next(iter(rows)))}")


def _round(value: Any) -> Any:
    """Return a number to the digits that have to agree, and all else as text."""
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return float(f"{number:.{DIGITS}g}") if isfinite(number) else ""


def _parse(text: str) -> list[dict[str, Any]]:
    import pandas as pd

    table: pd.DataFrame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _read_csv(run: Run, name: str, wrong: list[str]) -> list[dict[str, Any]] | None:
    path = run.folder / "report" / f"{name}.csv"
    try:
        return _parse(files.read(path, run.folder).decode())
    except (OSError, ValueError, TokenBenchError) as error:
        wrong.append(f"report/{name}.csv cannot be read: {error}")
        return None


def _read_json(run: Run, wrong: list[str]) -> dict[str, Any]:
    path = run.folder / "report" / "report.json"
    try:
        content = json.loads(files.read(path, run.folder))
    except (OSError, ValueError, RecursionError, TokenBenchError) as error:
        wrong.append(f"report/report.json cannot be read: {error}")
        return {}
    return content if isinstance(content, dict) else {}
