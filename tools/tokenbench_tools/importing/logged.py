"""What a log holds, whatever tool wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenbench.contract.budget import Budget
from tokenbench.contract.cells import VANILLA
from tokenbench.errors import UsageError

__all__ = ["Cell", "Log", "Row", "Source", "Wanted", "make_cell"]


@dataclass(frozen=True)
class Wanted:
    """What the user wants of the logs."""

    tasks: tuple[str, ...] = ()
    """The tasks to read, by their names in the logs; all if empty."""
    metrics: Mapping[str, str] = field(default_factory=dict)
    """The metric to take, by task, where it is not the first one that gives every row a number."""
    filters: Mapping[str, str] = field(default_factory=dict)
    """The filter to take, by task, where there are several; the key "" is for all tasks."""

    def takes(self, task: str) -> bool:
        """Whether a task is to be read."""
        return not self.tasks or task in self.tasks

    def choices(self, task: str) -> tuple[str, str]:
        """The metric and the filter of a task; empty where the user names none."""
        return self.metrics.get(task, ""), self.filters.get(task, self.filters.get("", ""))


@dataclass(frozen=True)
class Row:
    """One answer."""

    id: str
    """The row of the data, as the tool names it: a number, or an index."""
    question: str
    """The prompt as it was asked; empty if the log does not hold it."""
    target: str
    """The right answer as the log says it; empty if it does not."""
    answer: str | None
    """The answer that was scored; None if the log does not hold it."""
    score: float | None
    """The score, on the scale of the log; None if there is none."""
    name: str = ""
    """What the data calls the question, such as a `question_id`; empty if the log does not say."""
    image: str = ""
    """What is asked about; empty if the log does not say."""
    unit: str = ""
    """What the metric counts, if that is several answers; empty if the log does not say."""
    stratum: str = ""
    """The part of the task that its metric averages separately; empty if there is none."""


@dataclass(frozen=True)
class Log:
    """The answers of one command to one task."""

    task: str
    """The name of the task."""
    rows: tuple[Row, ...]
    """The answers, in the order of the file."""
    metric: str = ""
    """The metrics that gave the scores; empty if the log has no score for single answers."""
    reported: float | None = None
    """What the tool reports for the whole task by this metric; None if it is not there."""
    conditions: Mapping[str, str] = field(default_factory=dict)
    """What must be the same in cells that are compared, by name: the settings of generation, the metric, the size of the data."""
    notes: tuple[str, ...] = ()
    """Sentences that a reader of the numbers must see."""


@dataclass(frozen=True)
class Cell:
    """What was run."""

    strategy: str
    """The strategy with its parameters."""
    budget: str
    """The budget; `all` for vanilla."""
    seed: int = 0
    """The seed."""

    @property
    def label(self) -> str:
        """The cell as users write it."""
        seed = f"#{self.seed}" if self.seed else ""
        return self.strategy + (f"@{self.budget}" if self.budget != "all" else "") + seed


def make_cell(strategy: str, budget: str, seed: int = 0) -> Cell:
    """Return a cell with its budget as reports write it.

    Args:
        strategy: The strategy.
        budget: What the log or the user says: a budget, `none` for a strategy that takes none, or `all` for vanilla.
        seed: The seed.

    Raises:
        UsageError: It is no budget, or one for vanilla, which keeps all tokens.
    """
    if strategy == VANILLA and budget not in ("", "all"):
        raise UsageError(
            f"vanilla has the budget '{budget[:20]}', but it keeps all tokens", "leave the budget of vanilla away"
        )
    if strategy == VANILLA:
        return Cell(strategy, "all", seed)
    return Cell(strategy, budget if budget in ("all", "none") else str(Budget.parse(budget)), seed)


@dataclass(frozen=True)
class Source:
    """One command of another tool, with what it logged."""

    name: str
    """What tells it from the others of an import: a folder, or a time stamp."""
    tool: str
    """The tool with the layout of its files."""
    model: str
    """The name of the model; empty if the log does not say."""
    arguments: str
    """The arguments of the model, as the log holds them."""
    cell: Cell | None
    """What was run; None if the log does not say."""
    logs: tuple[Log, ...]
    """Its tasks."""
    files: Mapping[str, str]
    """The SHA-256 of each of its files, by name."""
