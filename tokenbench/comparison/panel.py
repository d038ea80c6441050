"""The samples of one model as arrays: every cell on the same samples, in an order that does not depend on the rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from tokenbench.errors import SamplesError
from tokenbench.statistics import TaskSums, averaging, cluster_sums
from tokenbench.statistics.clusters import Floats, Ints
from tokenbench.statistics.signs import Keys

VANILLA = "vanilla"
TOGETHER = "all models together"
COST = ["kept", "visual_tokens", "realised_tokens", "flops", "cache_bytes", "evidence_recall"]
_COLUMN = ["strategy", "budget", "seed"]

Fill = Literal["wrong", "as vanilla"]
"""What a missing answer may be taken for: the two ends of what it can have been."""
Scopes = Mapping[str, str]
"""By strategy, ``sample`` if its seed draws anew for every sample, ``run`` (also where nothing is said) if one draw may move all."""


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
        clusters: names of all clusters of the model, in the order of the codes.
        cost: mean of ``COST`` by strategy, budget and task.
        shared: ``[K]`` whether one draw of a cell's seed may move all of its samples.
        missing: by task and cell, how many of vanilla's samples the cell has no score for.
        models: how many models' answers are laid together; a task of each is a task here.
    """

    model: str
    cells: list[Cell]
    cell: Ints
    tasks: list[TaskScores]
    clusters: list[str]
    cost: pd.DataFrame
    shared: Floats
    missing: dict[str, dict[int, int]] = field(default_factory=dict)
    models: int = 1

    @cached_property
    def averages(self) -> list[Floats]:
        """``[N, K]`` seed-averaged scores of each task."""
        return [task.scores @ averaging(self.cell) for task in self.tasks]

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
        """The same scores with codes that count more clusters; the names are in order and hold all of the panel's own."""
        places = np.searchsorted(np.array(clusters), np.array(self.clusters))
        tasks = [task._replace(codes=places[task.codes]) for task in self.tasks]
        return replace(self, tasks=tasks, clusters=clusters)

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
        samples: see ``compare``.
        scopes: of the strategies' seeds.
        fill: what to take missing answers for; without it samples that any cell lacks are left out of all cells.

    Raises:
        SamplesError: a score outside [0, 1], a sample twice in a cell or in two clusters, no vanilla cell, or no sample
            that all cells of a model have scored.
    """
    for model, rows in _ordered(samples).groupby("model", sort=True):
        yield _panel(str(model), rows, scopes or {}, fill)


def together(samples: pd.DataFrame, scopes: Scopes | None = None, fill: Fill | None = None) -> Panel | None:
    """All models of a run as one panel of the cells that every model has; None for one model, or no such strategy.

    A task of each model is a task of the panel, so that means over tasks are means over models and tasks. An image is
    one cluster whichever model sees it: its influences on the models' scores are added before anything is squared.
    """
    frame = _ordered(samples)
    columns = frame[["model", *_COLUMN]].drop_duplicates()
    models = columns["model"].nunique()
    shared = columns.groupby(_COLUMN)["model"].transform("size") == models
    common = pd.MultiIndex.from_frame(columns.loc[shared, _COLUMN])
    if models < 2 or not (common.get_level_values("strategy") != VANILLA).any():
        return None
    rows = frame[pd.MultiIndex.from_frame(frame[_COLUMN]).isin(common)]
    # No name holds a NUL, so that no two pairs of names become one.
    panel = _panel(TOGETHER, rows.assign(task=rows["model"] + "\0" + rows["task"]), scopes or {}, fill)
    return replace(panel, models=models)


def _ordered(samples: pd.DataFrame) -> pd.DataFrame:
    frame = samples.astype({name: str for name in ("model", "strategy", "budget", "task", "sample", "cluster")})
    if not frame["score"].dropna().between(0, 1).all():
        raise SamplesError("scores must lie in [0, 1]")
    return frame.sort_values(["model", "task", "sample", *_COLUMN], kind="stable")


def _panel(model: str, rows: pd.DataFrame, scopes: Scopes, fill: Fill | None) -> Panel:
    columns = pd.MultiIndex.from_frame(rows[_COLUMN].drop_duplicates())
    order = sorted(range(len(columns)), key=lambda at: _order(*columns[at]))  # type: ignore[arg-type]
    columns = columns[order]
    if columns[0][0] != VANILLA:
        raise SamplesError(f"{model}: no vanilla cell to compare with; every run must include it")
    cells = list(dict.fromkeys(Cell(strategy, budget) for strategy, budget, _ in columns))
    cell = np.array([cells.index(Cell(strategy, budget)) for strategy, budget, _ in columns])
    wide, missing = {}, {}
    for task, group in rows.groupby("task", sort=True):
        table = _table(f"{model}, {task}", group, columns)
        lacking = table.isna().to_numpy()[table.iloc[:, 0].notna()]
        if lacking.any():
            missing[str(task)] = {
                int(at): int(lacking[:, cell == at].any(axis=1).sum()) for at in np.unique(cell[lacking.any(axis=0)])
            }
        complete = _filled(table, fill).dropna()
        if len(complete):
            wide[str(task)] = complete
    if not wide:
        raise SamplesError(f"{model}: no sample has been scored by every cell")
    sample_cluster = rows.groupby(["task", "sample"])["cluster"].agg(["first", "nunique"])
    if (sample_cluster["nunique"] > 1).any():
        raise SamplesError(f"{model}: a sample belongs to two clusters")
    names = {task: sample_cluster["first"].loc[task].reindex(table.index) for task, table in wide.items()}
    clusters = np.unique(rows["cluster"].to_numpy(dtype=str))
    codes = np.searchsorted(clusters, np.concatenate([names[task].to_numpy(dtype=str) for task in wide]))
    splits = np.split(codes, np.cumsum([len(table) for table in wide.values()])[:-1])
    tasks = [
        TaskScores(task, table.to_numpy(dtype=np.float64), split, _weights(rows[rows["task"] == task], table.index))
        for (task, table), split in zip(wide.items(), splits, strict=True)
    ]
    used = pd.MultiIndex.from_tuples([(task, name) for task, table in wide.items() for name in table.index])
    kept = rows[pd.MultiIndex.from_frame(rows[["task", "sample"]]).isin(used)]
    cost = kept.reindex(columns=[*kept.columns, *(name for name in COST if name not in kept)])
    cost = cost.groupby(["strategy", "budget", "task"])[COST].mean()
    shared = np.array([scopes.get(one.strategy, "run") != "sample" for one in cells], dtype=np.float64)
    return Panel(model, cells, cell, tasks, clusters.tolist(), cost, shared, missing)


def _table(where: str, group: pd.DataFrame, columns: pd.MultiIndex) -> pd.DataFrame:
    """One row per sample and one column per cell and seed."""
    if group.duplicated(["sample", *_COLUMN]).any():
        raise SamplesError(f"{where}: a sample occurs twice in one cell")
    return group.pivot(index="sample", columns=_COLUMN, values="score").reindex(columns=columns)


def _filled(table: pd.DataFrame, fill: Fill | None) -> pd.DataFrame:
    """The table with missing answers taken for one of the two ends, on the samples that vanilla has."""
    if fill is None or not table.isna().to_numpy().any():
        return table
    table = table[table.iloc[:, 0].notna()]
    return table.fillna(0.0) if fill == "wrong" else table.T.fillna(table.iloc[:, 0]).T


def _weights(rows: pd.DataFrame, samples: pd.Index) -> Floats:
    """A weight a sample that gives every stratum of the task the same say; ones without strata."""
    if "stratum" not in rows or not rows["stratum"].fillna("").astype(bool).any():
        return np.ones(len(samples))
    stratum = rows.drop_duplicates("sample").set_index("sample")["stratum"].reindex(samples)
    size = stratum.map(stratum.value_counts())
    return np.asarray(len(stratum) / (stratum.nunique() * size), dtype=np.float64)


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
