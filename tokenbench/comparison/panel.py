"""The samples of one model as arrays: every cell on the same samples, in an order that does not depend on the rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tokenbench.comparison.task_samples import Fill, distinct, task_samples
from tokenbench.contract.budget import Budget
from tokenbench.contract.cells import CELL, VANILLA
from tokenbench.errors import SamplesError, UsageError
from tokenbench.statistics import TaskSums, averaging_matrix, cluster_sums
from tokenbench.statistics.clusters import Floats, Ints
from tokenbench.statistics.signs import Keys

TOGETHER = "all models together"
COST = ["kept", "visual_tokens", "realised_tokens", "flops", "cache_bytes", "evidence_recall"]
_COLUMN = ["strategy", "budget", "seed"]
_NAMES = [*CELL, "task", "sample", "cluster"]

Scopes = Mapping[str, str]
"""By strategy, ``sample`` if its seed draws anew for every sample, ``run`` (also where nothing is said) if one draw may
move all."""


class Treatment(NamedTuple):
    """A strategy at a budget."""

    strategy: str
    """The strategy, with its parameters."""
    budget: str
    """The budget, as the user wrote it."""


class TaskScores(NamedTuple):
    """Scores of one task."""

    name: str
    """The name of the task."""
    scores: Floats
    """``[N, M]`` scores, one column per cell and seed."""
    codes: Ints
    """``[N]`` cluster of each sample, counted over all tasks of the model."""
    weights: Floats
    """``[N]`` weights that make the task's score the mean of ``weights * scores``. All are one unless the task averages
    its strata on their own; their mean is one."""

    @property
    def grouped(self) -> tuple[Ints, Ints, Ints]:
        """The clusters' codes, an order that brings the samples of each together, and where each begins in it."""
        order = np.argsort(self.codes, kind="stable")
        codes, starts = np.unique(self.codes[order], return_index=True)
        return codes, order, starts

    @property
    def sums(self) -> TaskSums:
        """Weighted scores by cluster. Strata are taken as drawn with the images, which is a little too careful."""
        index, local = np.unique(self.codes, return_inverse=True)
        sizes = cluster_sums(self.weights, local, len(index))
        return TaskSums(index, sizes, cluster_sums(self.weights[:, None] * self.scores, local, len(index)))


@dataclass(frozen=True)
class Panel:
    """All samples of one model that every cell has scored."""

    model: str
    """Its name."""
    cells: list[Treatment]
    """K cells, vanilla first."""
    cell: Ints
    """``[M]`` cell of each column of the scores (a cell has one column per seed)."""
    tasks: list[TaskScores]
    """The tasks by name, without those that have no common sample."""
    clusters: list[str]
    """Names of all clusters of the model, in the order of the codes."""
    cost: pd.DataFrame
    """Mean of ``COST`` by strategy, budget and task."""
    shared: Floats
    """``[K]`` whether one draw of a cell's seed may move all of its samples."""
    missing: dict[str, dict[int, int]] = field(default_factory=dict)
    """For each task and cell, how many of vanilla's samples the cell has no score for; of vanilla, how many of the others'
    samples."""
    models: int = 1
    """How many models' answers are laid together; a task of each is a task here."""

    @cached_property
    def places(self) -> dict[Treatment, int]:
        """Positions of the cells."""
        return {cell: at for at, cell in enumerate(self.cells)}

    @cached_property
    def averages(self) -> list[Floats]:
        """``[N, K]`` seed-averaged scores of each task."""
        return [task.scores @ averaging_matrix(self.cell) for task in self.tasks]

    @cached_property
    def sums(self) -> list[TaskSums]:
        """Scores of each task by cluster."""
        return [task.sums for task in self.tasks]

    @cached_property
    def keys(self) -> Keys:
        """``[G]`` a number for every cluster that depends on its name alone."""
        digests = b"".join(blake2b(name.encode(), digest_size=8).digest() for name in self.clusters)
        return np.frombuffer(digests, dtype=np.uint64)

    def among(self, clusters: list[str]) -> "Panel":
        """The same scores with codes that count more clusters.

        The names are in order and hold all of the panel's own.
        """
        places = np.searchsorted(np.array(clusters), np.array(self.clusters))
        tasks = [task._replace(codes=places[task.codes]) for task in self.tasks]
        return replace(self, tasks=tasks, clusters=clusters)

    @cached_property
    def costs(self) -> dict[tuple[str, str, str], dict[str, float]]:
        """The rows of ``cost``."""
        return self.cost.to_dict("index")  # type: ignore[return-value]

    @cached_property
    def _tokens(self) -> dict[tuple[str, ...], float]:
        single = self.cost["realised_tokens"]
        mean = single.groupby(level=[0, 1]).mean()
        known: dict[Any, float] = {**{(*key, ""): value for key, value in mean.to_dict().items()}, **single.to_dict()}  # type: ignore[misc]
        return known

    def tokens(self, cell: Treatment, task: str = "") -> float:
        """Realised tokens of a cell on a task, or the mean over its tasks; NaN where it has no answer."""
        return float(self._tokens.get((*cell, task), np.nan))

    @property
    def samples(self) -> int:
        """Number of samples over all tasks."""
        return sum(len(task.codes) for task in self.tasks)

    @property
    def images(self) -> int:
        """Number of clusters that occur in any task."""
        return len(np.unique(np.concatenate([task.codes for task in self.tasks])))


def panels(samples: pd.DataFrame, scopes: Scopes | None = None, fill: Fill | None = None) -> Iterator[Panel]:
    """Split a run's samples by model.

    Args:
        samples: The samples, as ``compare`` takes them.
        scopes: Which samples one draw of a strategy may affect.
        fill: What missing answers are taken for; by default, samples that any cell lacks are left out of all cells.

    Raises:
        SamplesError: If a score is outside [0, 1], a sample is twice in a cell or in two clusters, there is no vanilla
            cell, or no sample has been scored by all cells of a model.
    """
    frame = _name_categories(samples)
    for model in frame["model"].cat.categories:
        rows = frame[frame["model"] == model]
        if len(rows):
            yield _panel(str(model), rows, scopes or {}, fill)


def together(samples: pd.DataFrame, scopes: Scopes | None = None, fill: Fill | None = None) -> Panel | None:
    """All models of a run as one panel of the cells that every model has; None for one model, or no such strategy.

    A task of each model is a task of the panel, so that means over tasks are means over models and tasks. An image is
    one cluster whichever model sees it: its influences on the models' scores are added before anything is squared.
    """
    models = samples["model"].nunique()
    if models < 2:
        return None
    frame = _name_categories(samples)
    columns = frame[["model", *_COLUMN]].drop_duplicates()
    shared = columns.groupby(_COLUMN, observed=True)["model"].transform("size") == models
    common = pd.MultiIndex.from_frame(columns.loc[shared, _COLUMN])
    if not (common.get_level_values("strategy") != VANILLA).any():
        return None
    rows = frame[pd.MultiIndex.from_frame(frame[_COLUMN]).isin(common)]
    # No name holds a NUL, so that no two pairs of names become one.
    tasks = rows["model"].astype(object) + "\0" + rows["task"].astype(object)
    return replace(_panel(TOGETHER, rows.assign(task=_category(tasks)), scopes or {}, fill), models=models)


def _name_categories(samples: pd.DataFrame) -> pd.DataFrame:
    """The columns that panels need, with names as categories: numbers instead of text from here on."""
    if not samples["score"].dropna().between(0, 1).all():
        raise SamplesError("scores must lie in [0, 1]")
    numbers = [name for name in ("seed", "score", "stratum", *COST) if name in samples]
    return samples[[*_NAMES, *numbers]].assign(**{name: _category(samples[name]) for name in _NAMES})


def _category(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """The column as a category of texts, whose codes are in their order."""
    found = column.astype("category")
    texts = found.cat.categories.astype(str)
    if not texts.is_unique or found.hasnans:
        return column.astype(str).astype("category")
    found = found.cat.rename_categories(texts.tolist())
    return found if texts.is_monotonic_increasing else found.cat.reorder_categories(sorted(texts))


def _panel(model: str, rows: pd.DataFrame, scopes: Scopes, fill: Fill | None) -> Panel:
    numbers, columns = _columns(rows)
    if columns[0][0] != VANILLA:
        raise SamplesError(f"{model}: there is no vanilla cell to compare with, and every run must include one")
    cells = list(dict.fromkeys(Treatment(strategy, budget) for strategy, budget, _ in columns))
    place = {cell: at for at, cell in enumerate(cells)}
    cell = np.array([place[Treatment(strategy, budget)] for strategy, budget, _ in columns])
    clusters = distinct(rows["cluster"].cat.codes.to_numpy()).values
    tasks, missing, used = [], {}, np.zeros(len(rows), dtype=bool)
    for task, at in _rows_by(rows["task"]):
        table = task_samples(model, task, rows.iloc[at], numbers[at], len(columns))
        if lacking := table.missing(cell):
            missing[task] = lacking
        complete = table.complete(fill)
        used[at] = complete.used
        if len(complete.scores):
            codes = np.searchsorted(clusters, complete.clusters)
            tasks.append(TaskScores(task, complete.scores, codes, complete.weights))
    if not tasks:
        raise SamplesError(f"{model}: no sample has been scored by every cell")
    names = rows["cluster"].cat.categories[clusters].tolist()
    shared = np.array([scopes.get(one.strategy, "run") != "sample" for one in cells], dtype=np.float64)
    return Panel(model, cells, cell, tasks, names, _costs(rows if used.all() else rows[used]), shared, missing)


def _columns(rows: pd.DataFrame) -> tuple[Ints, list[tuple[str, str, int]]]:
    """The number of every row's strategy, budget and seed, and what these are in the order of the numbers."""
    groups = rows.groupby(_COLUMN, observed=True, sort=False).ngroup().to_numpy()
    first = np.unique(groups, return_index=True)[1]  # ngroup counts from 0 without gaps
    there = list(rows[_COLUMN].iloc[first].itertuples(index=False, name=None))
    order = sorted(range(len(there)), key=lambda at: _order(*there[at]))
    number = np.empty(len(there), dtype=np.int64)
    number[order] = np.arange(len(there))
    return number[groups], [there[at] for at in order]


def _rows_by(names: "pd.Series[Any]") -> Iterator[tuple[str, Ints]]:
    """Every category that occurs, with the positions of its rows."""
    codes = names.cat.codes.to_numpy()
    order = np.argsort(codes, kind="stable")
    for at in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        yield str(names.cat.categories[codes[at[0]]]), at


def _costs(rows: pd.DataFrame) -> pd.DataFrame:
    known = [name for name in COST if name in rows]
    means = rows.groupby(["strategy", "budget", "task"], observed=True)[known].mean().reindex(columns=COST)
    return means.set_axis(pd.MultiIndex.from_tuples(means.index, names=means.index.names))


def _order(strategy: str, budget: str, seed: int) -> tuple[bool, str, float, str, int]:
    """Vanilla first, then by name; within a strategy from the largest budget to the smallest."""
    return strategy != VANILLA, strategy, -budget_size(budget), budget, seed


def budget_size(budget: str) -> float:
    """``Budget.order``; infinity for a text that is no budget, as a table of one's own may have."""
    try:
        return Budget.read(budget).order
    except UsageError:
        return float("inf")
