"""Which rows of several logs are the same question. Numbers of rows are not enough: their content is compared, too."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from tokenbench.contract.cells import VANILLA
from tokenbench.errors import UsageError
from tokenbench_tools.importing.checks import Imported
from tokenbench_tools.importing.logged import Cell, Log, Row

__all__ = ["key_of", "pair_rows"]

Rows = Mapping[str, Row]
"""Rows by their number."""


def pair_rows(imported: Imported, other_prompts: bool, common: bool) -> dict[tuple[str, str], list[str]]:
    """Find the rows that all cells of a model have.

    Args:
        imported: The logs.
        other_prompts: Whether cells may have been asked with different prompts.
        common: Whether cells may have different rows; those that all have are compared.

    Returns:
        The numbers of the rows by model and task, in the order of vanilla's log.

    Raises:
        UsageError: Cells hold other rows, in another order, of other data, or with other prompts.
    """
    found = {}
    models = dict.fromkeys(model for model, _ in imported.logs)
    for model in models:
        for task in imported.tasks:
            logs = imported.of_task(model, task)
            _check_there(model, task, logs, imported)
            tables = {cell: {row.id: row for row in log.rows} for cell, log in logs.items()}
            (vanilla, reference), *others = tables.items()
            for cell, rows in others:
                _check_same(task, (vanilla, reference), (cell, rows), imported, other_prompts)
            found[model, task] = _common(task, tables, imported, common)
        _tell_alike(model, imported)
    return found


def key_of(row: Row) -> str:
    """Return the name of a question: the same for the same number and content, and different for other content."""
    content = "\n".join((row.id, row.name, row.target, row.question))
    digest = hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"{row.id[:40]}-{digest}"


def _check_there(model: str, task: str, logs: Mapping[Cell, Log], imported: Imported) -> None:
    every = [cell for name, cell in imported.logs if name == model]
    if lacking := [cell.label for cell in every if cell not in logs]:
        raise UsageError(
            f"{', '.join(lacking)} has no log of {task}, which {next(iter(logs)).label} has",
            "import the tasks that every cell has, with --tasks",
        )


def _check_same(task: str, a: tuple[Cell, Rows], b: tuple[Cell, Rows], imported: Imported, other_prompts: bool) -> None:
    shared = [(row, b[1][number]) for number, row in a[1].items() if number in b[1]]
    if other := [(x, y) for x, y in shared if (x.target, x.name) != (y.target, y.name)]:
        x, y = other[0]
        raise UsageError(
            f"the rows of {b[0].label} on {task} are in another order than those of {a[0].label}, or of another version of the data: {len(other)} of "
            f"{len(shared)} rows with the same number differ, first row {x.id}: {_show(x)} and {_show(y)}",
            "run one of them again on the same data",
        )
    if shown := [(x, y) for x, y in shared if x.image and y.image and _picture(x) != _picture(y)]:
        x, y = shown[0]
        raise UsageError(
            f"{b[0].label} was asked about other pictures than {a[0].label} on {task}: {len(shown)} of {len(shared)} rows, first row {x.id}: "
            f"'{x.image[:60]}' and '{y.image[:60]}'",
            "run one of them again on the same data, or name each picture alike in all cells",
        )
    if asked := [(x, y) for x, y in shared if x.question != y.question]:
        x, y = asked[0]
        if not other_prompts:
            raise UsageError(
                f"{b[0].label} was asked with other prompts than {a[0].label} on {task}: {len(asked)} of {len(shared)} rows, first row {x.id}: "
                f"'{x.question[:60]}' and '{y.question[:60]}'",
                "a prompt is part of a cell; --other-prompts compares them nevertheless",
            )
        imported.notes.append(
            f"{b[0].label} was asked with other prompts than {a[0].label} on {task}: a difference may come from the prompts."
        )


def _picture(row: Row) -> str:
    """Return the name of a picture, without the folders of the machine that asked about it."""
    return row.image.rpartition("/")[2] if row.image.startswith("/") else row.image


def _show(row: Row) -> str:
    return f"'{(row.target if not row.name else row.name + ' ' + row.target)[:40]}'"


def _common(task: str, tables: Mapping[Cell, Rows], imported: Imported, common: bool) -> list[str]:
    """Return the rows that all cells have."""
    reference = next(iter(tables.values()))
    shared = [number for number in reference if all(number in rows for rows in tables.values())]
    sizes = {cell.label: len(rows) for cell, rows in tables.items() if rows.keys() != set(shared)}
    if not sizes:
        return shared
    said = ", ".join(f"{label} {count}" for label, count in sizes.items())
    if not common or not shared:
        raise UsageError(
            f"the cells have different rows of {task}: {said}, and all of them share {len(shared)}",
            "run the missing ones" + (", or compare the rows that all cells have with --common" if shared else ""),
        )
    imported.notes.append(
        f"The cells have different rows of {task} ({said}); the {len(shared)} rows that all of them have are compared."
    )
    return shared


def _tell_alike(model: str, imported: Imported) -> None:
    """Note where two cells gave the same answers to all questions: the setting of a method may not have reached the model."""
    seen: dict[frozenset[tuple[str, str, str | None]], Cell] = {}
    for (name, cell), logs in imported.logs.items():
        said = frozenset((task, row.id, row.answer) for task, log in logs.items() for row in log.rows)
        if name != model or not any(answer for *_, answer in said):
            continue
        other = seen.setdefault(said, cell)
        if (other.strategy, other.budget) != (cell.strategy, cell.budget):
            pair = sorted((other, cell), key=lambda one: one.strategy == VANILLA)
            imported.notes.append(
                f"{pair[0].label} and {pair[1].label} gave the same answer to every question: was {pair[0].strategy} switched on?"
            )
