"""The samples of one model as arrays: every cell on the same samples, in an order that does not depend on the rows."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tokenbench.errors import SamplesError
from tokenbench.statistics.clusters import Floats, Ints, cluster_sums
from tokenbench.statistics.retention import TaskSums
from tokenbench.statistics.seeds import averaging

VANILLA = "vanilla"
TOGETHER = "all models together"
COST = ["kept", "visual_tokens", "realised_tokens", "flops", "cache_bytes", "evidence_recall"]
_COLUMN = ["strategy", "budget", "seed"]
_NAMES = ["model", "strategy", "budget", "task", "sample", "cluster"]


class Cell(NamedTuple):
    """A strategy at a budget."""

    strategy: str
    budget: str


class TaskScores(NamedTuple):
    """Scores of one task.

    Attributes:
        name: of the task.
        scores: ``[N, M]`` one column per cell and seed.
        codes: ``[N]`` cluster of each sample, counted over all tasks of the model.
        weights: ``[N]`` that make the task's score the mean of ``weights * scores``: all one, unless the task averages its strata
            on their own; their mean is one.
    """

    name: str
    scores: Floats
    codes: Ints
    weights: Floats

    @property
    def sums(self) -> TaskSums:
        """Weighted scores by cluster. Strata are taken as drawn with the images, which is a little too careful."""
        index, local = np.unique(self.codes, return_inverse=True)
        sizes = cluster_sums(self.weights, local, len(index))
        return TaskSums(index, sizes, cluster_sums(self.weights[:, None] * self.scores, local, len(index)))


@dataclass(frozen=True)
class Panel:
    """All samples of one model that every cell has scored.

    Attributes:
        model: its name.
        cells: K cells, vanilla first.
        cell: ``[M]`` cell of each column of the scores (a cell has one column per seed).
        tasks: by name; tasks without a common sample are left out.
        clusters: names of the clusters, in the order of the codes.
        cost: mean of ``COST`` by strategy, budget and task.
        warnings: what a reader has to know about the selection.
        models: how many models' answers are laid together; a task of each is a task here.
    """

    model: str
    cells: list[Cell]
    cell: Ints
    tasks: list[TaskScores]
    clusters: list[str]
    cost: pd.DataFrame
    warnings: list[str]
    models: int = 1

    @cached_property
    def averages(self) -> list[Floats]:
        """``[N, K]`` seed-averaged scores of each task."""
        return [task.scores @ averaging(self.cell) for task in self.tasks]

    @property
    def samples(self) -> int:
        """Number of samples over all tasks."""
        return sum(len(task.codes) for task in self.tasks)


def panels(samples: pd.DataFrame) -> Iterator[Panel]:
    """Split a run's samples by model.

    Raises:
        SamplesError: a score outside [0, 1], a sample twice in a cell or in two clusters, no vanilla cell, or no sample
            that all cells of a model have scored.
    """
    frame = _named(samples)
    for model in frame["model"].cat.categories:
        rows = frame[frame["model"] == model]
        if len(rows):
            yield _panel(str(model), rows)


def together(samples: pd.DataFrame) -> Panel | None:
    """All models of a run as one panel of the cells that every model has; None for one model, or no such strategy.

    A task of each model is a task of the panel, so that means over tasks are means over models and tasks. An image is
    one cluster whichever model sees it: its influences on the models' scores are added before anything is squared.
    """
    models = samples["model"].nunique()
    if models < 2:
        return None
    frame = _named(samples)
    columns = frame[["model", *_COLUMN]].drop_duplicates()
    shared = columns.groupby(_COLUMN, observed=True)["model"].transform("size") == models
    common = pd.MultiIndex.from_frame(columns.loc[shared, _COLUMN])
    if not (common.get_level_values("strategy") != VANILLA).any():
        return None
    rows = frame[pd.MultiIndex.from_frame(frame[_COLUMN]).isin(common)]
    # No name holds a NUL, so that no two pairs of names become one.
    tasks = rows["model"].astype(object) + "\0" + rows["task"].astype(object)
    return replace(_panel(TOGETHER, rows.assign(task=_category(tasks))), models=models)


def _named(samples: pd.DataFrame) -> pd.DataFrame:
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
    found = found.cat.rename_categories(texts)
    return found if texts.is_monotonic_increasing else found.cat.reorder_categories(sorted(texts))


def _panel(model: str, rows: pd.DataFrame) -> Panel:
    numbers, columns = _columns(rows)
    if columns[0][0] != VANILLA:
        raise SamplesError(f"{model}: no vanilla cell to compare with; every run must include it")
    cells = list(dict.fromkeys(Cell(strategy, budget) for strategy, budget, _ in columns))
    place = {cell: at for at, cell in enumerate(cells)}
    cell = np.array([place[Cell(strategy, budget)] for strategy, budget, _ in columns])
    warnings: list[str] = []
    found: list[_Complete] = []
    used = np.zeros(len(rows), dtype=bool)
    for task, at in _rows_by(rows["task"]):
        complete = _complete(model, task, rows.iloc[at], numbers[at], len(columns), warnings)
        used[at[complete.used]] = True
        found += [complete] if len(complete.scores) else []
    if not found:
        raise SamplesError(f"{model}: no sample has been scored by every cell")
    clusters, codes = np.unique(np.concatenate([task.clusters for task in found]), return_inverse=True)
    splits = np.split(codes, np.cumsum([len(task.scores) for task in found])[:-1])
    tasks = [TaskScores(task.name, task.scores, split, task.weights) for task, split in zip(found, splits, strict=True)]
    names = rows["cluster"].cat.categories[clusters].tolist()
    return Panel(model, cells, cell, tasks, names, _costs(rows if used.all() else rows[used]), warnings)


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


class _Complete(NamedTuple):
    """The samples of one task that every column has scored, in the order of their names.

    Attributes:
        name: of the task.
        scores: ``[N, M]``.
        clusters: ``[N]`` codes of their clusters.
        weights: ``[N]`` as in ``TaskScores``.
        used: of every row, whether it is of such a sample.
    """

    name: str
    scores: Floats
    clusters: Ints
    weights: Floats
    used: "np.ndarray[Any, np.dtype[np.bool_]]"


def _complete(
    model: str, task: str, rows: pd.DataFrame, numbers: Ints, columns: int, warnings: list[str]
) -> _Complete:
    """numbers: of every row's column. Samples that any column lacks are left out, with a warning."""
    keys, first, local = np.unique(rows["sample"].cat.codes, return_index=True, return_inverse=True)
    place = local * columns + numbers
    if len(np.unique(place)) < len(place):
        raise SamplesError(f"{model}, {task}: a sample occurs twice in one cell")
    clusters = rows["cluster"].cat.codes.to_numpy()
    if (clusters != clusters[first][local]).any():
        raise SamplesError(f"{model}: a sample belongs to two clusters")
    scores = np.full((len(keys), columns), np.nan)
    scores.flat[place] = rows["score"].to_numpy(dtype=np.float64)
    whole = ~np.isnan(scores).any(axis=1)
    if missing := int((~whole).sum()):
        warnings.append(
            f"{model}, {task}: {missing} of {len(keys)} samples were not scored in every cell and are left out of all cells"
        )
    weights = _weights(rows["stratum"].iloc[first[whole]]) if "stratum" in rows else np.ones(int(whole.sum()))
    return _Complete(task, scores[whole], clusters[first[whole]], weights, whole[local])


def _weights(strata: "pd.Series[Any]") -> Floats:
    """A weight a sample that gives every stratum of the task the same say; ones without strata."""
    _, local, sizes = np.unique(strata.astype(object).fillna("").astype(str), return_inverse=True, return_counts=True)
    return np.asarray(len(local) / (len(sizes) * sizes[local]), dtype=np.float64)


def _costs(rows: pd.DataFrame) -> pd.DataFrame:
    known = [name for name in COST if name in rows]
    means = rows.groupby(["strategy", "budget", "task"], observed=True)[known].mean().reindex(columns=COST)
    return means.set_axis(pd.MultiIndex.from_tuples(means.index, names=means.index.names))


def _order(strategy: str, budget: str, seed: int) -> tuple[bool, str, float, str, int]:
    """Vanilla first, then by name; within a strategy from the largest budget to the smallest."""
    return strategy != VANILLA, strategy, -budget_size(budget), budget, seed


def budget_size(budget: str) -> float:
    """A number to sort budgets by: shares by size, counts by number, ``all`` above both."""
    try:
        if budget.endswith("%"):
            return float(budget[:-1]) / 100
        share, _, whole = budget.partition("/")
        return float(share) / float(whole) if whole else float(budget)
    except ValueError:
        return float("inf")
