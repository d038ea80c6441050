"""Plain tables: a .csv or .tsv file with a row for every answer.

Columns are task, sample and score, and strategy and budget unless the cell is named on the command line. The columns model, seed,
answer, target, question, image (or cluster), unit and stratum may be there, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tokenbench.contract.cells import VANILLA
from tokenbench.errors import UsageError
from tokenbench_tools.importing.files import digest, read_numbered
from tokenbench_tools.importing.logged import Log, Row, Source, Wanted, make_cell

__all__ = ["find_cells"]

NEEDED = ("task", "sample", "score")


def find_cells(path: Path, wanted: Wanted) -> list[Source]:
    """Return the cells of a table.

    Raises:
        UsageError: A column is missing, or a score or a seed is no number.
    """
    table = read_numbered(path)
    there = set(table[0][1]) if table else set()
    if lacking := [name for name in NEEDED if name not in there]:
        raise UsageError(
            f"{path} lacks the column{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}",
            f"it has {', '.join(sorted(there)) or 'no row'}",
        )
    groups: dict[tuple[str, str, str, str], dict[str, list[Row]]] = {}
    for number, record in table:
        if not wanted.takes(record["task"]):
            continue
        key = (
            record.get("model", ""),
            record.get("strategy", ""),
            _budget(record),
            record.get("seed", "") or "0",
        )
        groups.setdefault(key, {}).setdefault(record["task"], []).append(_row(record, number, path))
    files = {path.name: digest(path)}
    return [_source(key, tasks, path, files) for key, tasks in groups.items()]


def _source(
    key: tuple[str, str, str, str], tasks: Mapping[str, list[Row]], path: Path, files: Mapping[str, str]
) -> Source:
    model, strategy, budget, seed = key
    cell = None
    if strategy:
        if not seed.isdigit():
            raise UsageError(f"{path}: the seed {seed[:20]!r} is not a whole number")
        if strategy != VANILLA and not budget:
            raise UsageError(
                f"{path}: {strategy} has no budget",
                "write it into the column budget, or `none` for a strategy that takes none",
            )
        try:
            cell = make_cell(strategy, budget, int(seed))
        except UsageError as error:
            raise UsageError(f"{path}, {strategy}: {error}", error.hint) from None
    logs = tuple(Log(task, tuple(_mark_unknown(rows)), "score") for task, rows in tasks.items())
    return Source(cell.label if cell else path.name, "table", model, "", cell, logs, files)


def _budget(record: Mapping[str, str]) -> str:
    """Return the budget of a row. That of vanilla may be written as `all`."""
    budget = record.get("budget", "").strip()
    return "" if record.get("strategy", "") == VANILLA and budget == "all" else budget


def _mark_unknown(rows: Sequence[Row]) -> Sequence[Row]:
    """Return the rows without answers if none says anything: the column is missing, or was left empty."""
    return rows if any(row.answer for row in rows) else [replace(row, answer=None) for row in rows]


def _row(record: Mapping[str, str], number: int, path: Path) -> Row:
    text = record["score"].strip()
    try:
        score = float(text.replace(",", ".")) if text else None
    except ValueError:
        raise UsageError(f"{path}, line {number}: the score {text[:20]!r} is no number") from None
    return Row(
        id=record["sample"],
        question=record.get("question", ""),
        target=record.get("target", ""),
        answer=record.get("answer", ""),
        score=score,
        image=record.get("image", "") or record.get("cluster", ""),
        unit=record.get("unit", ""),
        stratum=record.get("stratum", ""),
    )
