"""What one cell must hold: every task once, answers that are answers, and the settings of the other cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tokenbench.contract.cells import VANILLA
from tokenbench.errors import UsageError
from tokenbench_tools.importing.logged import Cell, Log, Source
from tokenbench_tools.importing.scores import check_scale, has_failed

__all__ = ["Imported", "check_settings", "collect", "settle_failed"]

Key = tuple[str, Cell]
"""The model and the cell."""


@dataclass(frozen=True)
class Imported:
    """What is imported: the logs by cell and task, and what a reader has to know about them."""

    logs: Mapping[Key, Mapping[str, Log]]
    """By model and cell, the log of each task."""
    sources: Mapping[tuple[Key, str], Source]
    """Where each of them is from."""
    notes: list[str] = field(default_factory=list)
    """Sentences that a reader must see."""

    @property
    def tasks(self) -> list[str]:
        """The names of all tasks."""
        return list(dict.fromkeys(task for own in self.logs.values() for task in own))

    def of_task(self, model: str, task: str) -> dict[Cell, Log]:
        """Return the logs of one task of a model, vanilla's first."""
        own = {cell: tasks[task] for (name, cell), tasks in self.logs.items() if name == model and task in tasks}
        return dict(sorted(own.items(), key=lambda item: item[0].strategy != VANILLA))

    def changed(self, change: Callable[[Key, Log], Log]) -> Imported:
        """Return the same with other logs."""
        logs = {key: {task: change(key, log) for task, log in own.items()} for key, own in self.logs.items()}
        return replace(self, logs=logs)


def collect(sources: Sequence[Source], names: Mapping[str, str], latest: bool) -> Imported:
    """Bring the logs of all sources together, cell by cell.

    Args:
        sources: The sources, each with its cell and model.
        names: Other names for tasks.
        latest: Whether the last of several logs of one cell counts.

    Raises:
        UsageError: A cell was logged twice with different answers, a row is there twice, a score is no score, or there is no vanilla.
    """
    logs: dict[Key, dict[str, Log]] = {}
    found: dict[tuple[Key, str], Source] = {}
    notes: list[str] = []
    for source in sources:
        assert source.cell is not None
        key = (source.model, source.cell)
        for log in source.logs:
            log = replace(log, task=names.get(log.task, log.task))
            check_scale(log, source)
            _check_once(log, source.name)
            if (earlier := logs.setdefault(key, {}).get(log.task)) is not None:
                notes += _settle(earlier, log, found[key, log.task].name, source.name, source.cell, latest)
            logs[key][log.task], found[key, log.task] = log, source
            notes += log.notes
    models = {model for model, _ in logs}
    if lacking := [model for model in sorted(models) if not any(m == model and c.strategy == VANILLA for m, c in logs)]:
        raise UsageError(
            f"there is no vanilla of {lacking[0]}, and every strategy is compared with the unpruned model",
            "add its logs: tokenbench import vanilla=FOLDER …",
        )
    return Imported(logs, found, list(dict.fromkeys(notes)))


def _check_once(log: Log, source: str) -> None:
    seen: set[str] = set()
    for row in log.rows:
        if row.id in seen:
            raise UsageError(f"{source}: sample {row.id} of {log.task} occurs twice", "remove one of them")
        seen.add(row.id)


def _settle(earlier: Log, later: Log, first: str, second: str, cell: Cell, latest: bool) -> list[str]:
    """Return a note on two logs of one cell, of which the later one counts."""
    old, new = ({row.id: (row.answer, row.score) for row in log.rows} for log in (earlier, later))
    if old == new:
        return [
            f"{cell.label} on {later.task} was logged twice, with the same answers ({first} and {second}); it counts once."
        ]
    if latest:
        return [
            f"{cell.label} on {later.task} was logged twice, with different answers; {second} counts, and {first} does not."
        ]
    raise UsageError(
        f"{first} and {second} both hold {cell.label} on {later.task}, with different answers",
        "name the folder of one of them, or take the last one with --latest",
    )


def check_settings(imported: Imported) -> None:
    """Check that the cells of each model were made under the same conditions, as far as their logs say.

    Raises:
        UsageError: They were not.
    """
    for model in dict.fromkeys(model for model, _ in imported.logs):
        for task in imported.tasks:
            logs = list(imported.of_task(model, task).items())
            for other in logs[1:]:
                _compare(task, logs[0], other, imported, model)


def _compare(task: str, a: tuple[Cell, Log], b: tuple[Cell, Log], imported: Imported, model: str) -> None:
    tools = [imported.sources[(model, cell), task].tool for cell, _ in (a, b)]
    pairs = {"tool": tools} | {
        name: [log.conditions.get(name, "") for _, log in (a, b)] for name in {**a[1].conditions, **b[1].conditions}
    }
    for name, (left, right) in pairs.items():
        if left != right and "unknown" not in (left, right):
            raise UsageError(
                f"{a[0].label} and {b[0].label} cannot be compared on {task}: their {name} differs ({left[:80] or 'none'}, {right[:80] or 'none'})",
                "run one of them again like the other",
            )


def settle_failed(imported: Imported, way: str) -> Imported:
    """Decide what becomes of rows that are no answers.

    Args:
        imported: The logs; a task without any score is left as it is.
        way: `wrong` counts them as wrong, `drop` leaves the rows out of all cells; empty refuses them.

    Raises:
        UsageError: There are such rows, and `way` is empty.
    """
    failed: dict[tuple[str, str], dict[str, str]] = {}  # by model and task: the row, and a cell that failed on it
    for (model, cell), own in imported.logs.items():
        for log in own.values():
            if log.metric:
                failed.setdefault((model, log.task), {}).update(
                    {row.id: cell.label for row in log.rows if has_failed(row)}
                )
    count = sum(map(len, failed.values()))
    if not count:
        return imported
    (_, task), rows = next((key, rows) for key, rows in failed.items() if rows)
    row, label = next(iter(rows.items()))
    if not way:
        are, they = ("rows are", "they have no score, or say") if count > 1 else ("row is", "it has no score, or says")
        raise UsageError(
            f"{count} {are} without an answer: {they} that there was none; the first is sample {row} of {task} in {label}",
            "count them as wrong with --failed wrong, or leave them out of all cells with --failed drop",
        )
    said = {
        ("wrong", True): "count as wrong",
        ("wrong", False): "counts as wrong",
        ("drop", True): "are left out of all cells",
    }
    what = said.get((way, count > 1), "is left out of all cells")
    imported.notes.append(f"{count} row{'s' if count > 1 else ''} without an answer {what}.")

    def settle(key: Key, log: Log) -> Log:
        gone = failed.get((key[0], log.task), {})
        if way == "drop":
            return replace(log, rows=tuple(row for row in log.rows if row.id not in gone))
        return replace(
            log, rows=tuple(replace(row, score=0.0) if log.metric and has_failed(row) else row for row in log.rows)
        )

    return imported.changed(settle)
