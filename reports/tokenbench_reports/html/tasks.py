"""Where the accuracy goes: accuracy kept by task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from tokenbench.comparison import MEAN
from tokenbench.comparison.wording import NOTHING, percent
from tokenbench.contract.cells import VANILLA, is_trivial
from tokenbench_reports.html.cells import Cell, at_budget
from tokenbench_reports.html.marks import Mark

TINTS = 10
WIDEST = 8
"""Tasks side by side; more of them stand in further tables, so that none is cut off."""


@dataclass(frozen=True)
class TaskTable:
    """A few tasks at one budget."""

    tasks: list[str]
    """The tasks."""
    rows: list[tuple[str, str, bool, list[tuple[str, int]]]]
    """(strategy, look, whether it is a floor, (text, tint) of every task)."""


@dataclass(frozen=True)
class TasksView:
    """All tasks at one budget."""

    budget: str
    """The budget."""
    text: str
    """What the eye will find."""
    tables: list[TaskTable]
    """The tables."""


def tasks_view(summary: pd.DataFrame, cells: Sequence[Cell], budget: str, marks: Mapping[str, Mark]) -> TasksView:
    """Arrange one budget; ``summary`` holds the model's rows."""
    rows = summary[(summary["task"] != MEAN) & (summary["strategy"] != VANILLA)]
    kept = {
        (str(row["strategy"]), str(row["budget"]), str(row["task"])): float(row["retention"])
        for row in rows.to_dict("records")
    }
    names = [str(task) for task in dict.fromkeys(rows["task"])]
    here = at_budget(cells, budget)
    groups = [names[at : at + WIDEST] for at in range(0, len(names), WIDEST)]
    tables = [
        TaskTable(
            group,
            [
                (
                    cell.strategy,
                    marks[cell.strategy].look,
                    cell.floor,
                    [_entry(kept.get((cell.strategy, cell.budget, task), float("nan"))) for task in group],
                )
                for cell in here
            ],
        )
        for group in groups
    ]
    return TasksView(budget, _sentence(kept, here, names, budget), tables)


def _entry(value: float) -> tuple[str, int]:
    if value != value:
        return NOTHING, 0
    return percent(value, 0), min(TINTS - 1, max(0, int(TINTS * value)))


def _sentence(
    kept: Mapping[tuple[str, str, str], float], cells: Sequence[Cell], tasks: Sequence[str], budget: str
) -> str:
    """The hardest and the safest task, and who keeps most and least of the hardest."""
    names = [cell.strategy for cell in cells if not is_trivial(cell.strategy)]
    columns = {
        task: own
        for task in tasks
        if (own := {n: v for n in names if (v := kept.get((n, budget, task), float("nan"))) == v})
    }
    if len(columns) < 2:
        return ""
    means = {task: sum(own.values()) / len(own) for task, own in columns.items()}
    hard, safe = min(means, key=lambda task: means[task]), max(means, key=lambda task: means[task])
    own = columns[hard]
    most, least = max(own, key=lambda name: own[name]), min(own, key=lambda name: own[name])
    there = columns[safe].values()
    span = dict.fromkeys(percent(value, 0) for value in (min(there), max(there)))
    if most == least:
        return f"At {budget}, {hard} suffers most ({most} keeps {percent(own[most], 0)} %) and {safe} least ({' to '.join(span)} %)."
    return (
        f"At {budget}, {hard} suffers most: {most} keeps {percent(own[most], 0)} %, {least} {percent(own[least], 0)} %. "
        f"The safest task is {safe}, of which the methods keep {' to '.join(span)} %."
    )
