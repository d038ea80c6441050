"""Everything the page shows of one model, but the samples."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from tokenbench.comparison import MEAN, Comparison
from tokenbench_reports.conclusions import lead
from tokenbench_reports.document import MARK
from tokenbench_reports.html.budget_view import BudgetView, budget_view
from tokenbench_reports.html.curves import Curve, curves
from tokenbench_reports.html.grids import Bar, Cell, Grid, judgement, numeric, tinted
from tokenbench_reports.html.maps import bias_maps
from tokenbench_reports.standing import UNEQUAL_COST, Standing, standings
from tokenbench_reports.wording import NOTHING, interval, judged, marks_of, number, p_value, percent, range_of

COSTS = {"realised_tokens": "visual tokens", "flops": "FLOPs", "cache_bytes": "KV cache"}


@dataclass(frozen=True)
class ModelView:
    """One model's part of the page.

    Attributes:
        model: its name.
        lead: the paragraph of conclusions.
        cells: the summary over all tasks.
        pairs: every pair of strategies; None if there is at most one strategy a budget.
        tasks: score of every cell on every task.
        recall: evidence recall by budget; None where it is unknown.
        skill: skill over each floor by budget.
        budgets: what is shown for one budget at a time.
        curves: retention over the budgets.
        points: the cells as the accuracy-cost plot takes them.
    """

    model: str
    lead: str
    cells: Grid
    pairs: Grid | None
    tasks: Grid
    recall: Grid | None
    skill: list[Grid]
    budgets: list[BudgetView]
    curves: list[Curve]
    points: list[dict[str, Any]]


def model_view(comparison: Comparison, model: str, samples: pd.DataFrame) -> ModelView:
    """Arrange one model's results; ``samples`` are some of its rows of the run (see ``thinned``)."""
    summary = comparison.summary[comparison.summary["model"] == model]
    mean = summary[summary["task"] == MEAN]
    pairs = comparison.pairs[comparison.pairs["model"] == model]
    standing = [group for group in standings(comparison, model) if len(group.strategies) > 1]
    between = pairs[pairs["family"] == "F2"]
    maps = bias_maps(samples)
    skills = [str(name) for name in summary.columns if str(name).startswith("skill_") and mean[name].notna().any()]
    return ModelView(
        model=model,
        lead=lead(comparison, model),
        cells=_cells(mean, pairs[pairs["family"] == "F1"], standing, skills, comparison.margin),
        pairs=_pairs(between) if len(between) else None,
        tasks=_tasks(summary[summary["task"] != MEAN]),
        recall=_by_budget(
            "Evidence recall: share of the answer's visual tokens that were kept to the end, %", mean, "evidence_recall"
        ),
        skill=[grid for name in skills if (grid := _by_budget(_skill_caption(name), mean, name))],
        budgets=[budget_view(group, between, summary, samples, maps) for group in standing],
        curves=curves(mean),
        points=_points(mean),
    )


def _cells(
    mean: pd.DataFrame, verdicts: pd.DataFrame, standing: list[Standing], skills: list[str], margin: float
) -> Grid:
    vanilla = mean[mean["strategy"] == "vanilla"].iloc[0]
    found = {(row["a"], row["budget"]): judgement(row["verdict"], judged(row)) for row in verdicts.to_dict("records")}
    groups = {group.budget: group for group in standing}
    low, high = min(mean["retention_low"].min(), 0.9), max(mean["retention_high"].max(), 1.0)
    recalls = mean["evidence_recall"].notna().any()
    rows: list[list[Cell]] = []
    strong: set[int] = set()
    for cell in mean.sort_values("retention", ascending=False, kind="stable").to_dict("records"):
        strategy, budget = str(cell["strategy"]), str(cell["budget"])
        plain = strategy == "vanilla"
        group = groups.get(budget)
        kept = (
            percent(1.0)
            if plain
            else interval(cell["retention"], cell["retention_low"], cell["retention_high"], marks=marks_of(margin))
        )
        bar = Bar(
            *(
                100 * (at - low) / (high - low)
                for at in (cell["retention_low"], cell["retention"], cell["retention_high"], 1.0)
            )
        )
        if (group and strategy in group.top) or plain:
            strong.add(len(rows))
        rows.append([
            Cell(strategy),
            Cell(budget),
            numeric(kept, cell["retention"], bar=bar if cell["retention_low"] == cell["retention_low"] else None),
            found.get((strategy, budget), Cell(NOTHING, tone="dim")),
            _rank(group, strategy),
            numeric(number(cell["realised_tokens"]), cell["realised_tokens"]),
            *(_share(cell[name] / vanilla[name]) for name in ("flops", "cache_bytes")),
            *([_share(cell["evidence_recall"])] if recalls else []),
            *(_share(float("nan") if plain else cell[name]) for name in skills),
            numeric(interval(cell["score"], cell["score_low"], cell["score_high"]), cell["score"]),
        ])  # fmt: skip
    headers = [
        "strategy",
        "budget",
        "retention % [95 % CI]",
        "against vanilla",
        "rank",
        "visual tokens",
        "FLOPs",
        "KV cache",
    ]
    headers += ["evidence"] if recalls else []
    headers += [f"skill: {name.removeprefix('skill_')}" for name in skills] + ["score % [95 % CI]"]
    return Grid(
        "Every strategy at every budget, mean over the tasks. Bold: the top group of its budget, not distinguishable from the highest",
        headers, rows, 2, frozenset(strong), [1, 3],
    )  # fmt: skip


def _share(value: float) -> Cell:
    text = percent(value, 0)
    return numeric(text if text == NOTHING else f"{text} %", value)


def _rank(group: Standing | None, strategy: str) -> Cell:
    if group is None or strategy not in group.strategies:
        return Cell(NOTHING, float("inf"), "dim")
    low, high = group.ranks(strategy)
    return Cell(range_of(low, high), low + high / 1000)


def _pairs(pairs: pd.DataFrame) -> Grid:
    rows = []
    for row in pairs.to_dict("records"):
        unequal = abs(row["cost_ratio"] - 1) > UNEQUAL_COST
        rows.append([
            Cell(str(row["budget"])),
            Cell(str(row["a"])),
            Cell(str(row["b"])),
            numeric(interval(row["difference"], row["low"], row["high"], signed=True, marks=[0.0]), row["difference"]),
            numeric(p_value(row["p"]), row["p"]),
            Cell(_limits(row["tasks_low"], row["tasks_high"])),
            numeric(percent(row["mde"]), row["mde"]),
            numeric(f"{MARK} {row['cost_ratio']:.2f}×" if unequal else "equal", row["cost_ratio"]),
            judgement(row["verdict"], judged(row)),
        ])  # fmt: skip
    headers = [
        "budget",
        "a",
        "b",
        "a − b, points of retention [95 % CI]",
        "p",
        "other tasks",
        "detectable",
        "tokens a / b",
        "a is",
    ]
    return Grid(
        "Every pair of strategies at one budget (family F2). Other tasks: limits for other tasks like these, from the spread between tasks; not tested",
        headers,
        rows,
        3,
        filters=[0, 8],
    )


def _limits(low: float, high: float) -> str:
    return f"[{percent(low, signed=True)}, {percent(high, signed=True)}]" if low == low else NOTHING


def _tasks(cells: pd.DataFrame) -> Grid:
    tasks = [str(task) for task in dict.fromkeys(cells["task"])]
    found = {(c["strategy"], c["budget"], c["task"]): c for c in cells.to_dict("records")}
    rows = []
    for strategy, budget in dict.fromkeys(zip(cells["strategy"], cells["budget"], strict=True)):
        row = [Cell(str(strategy)), Cell(str(budget))]
        for task in tasks:
            cell = found[strategy, budget, task]
            text = interval(cell["score"], cell["score_low"], cell["score_high"])
            row.append(tinted(text, cell["score"], 0.0, 1.0))
        rows.append(row)
    caption = (
        "Score % by task [95 % interval] (pointwise). Tests on single tasks are exploratory: family F3 in pairs.csv"
    )
    return Grid(caption, ["strategy", "budget", *tasks], rows, 2, filters=[1])


def _skill_caption(name: str) -> str:
    return f"Skill over the floor “{name.removeprefix('skill_')}”, %: 0 is the floor, 100 is vanilla"


def _by_budget(caption: str, mean: pd.DataFrame, column: str) -> Grid | None:
    """One row per strategy, one column per budget, tinted."""
    cells = mean[(mean["strategy"] != "vanilla") & mean[column].notna()]
    if cells.empty:
        return None
    table = cells.pivot(index="strategy", columns="budget", values=column)
    table = table.reindex(index=list(dict.fromkeys(cells["strategy"])), columns=list(dict.fromkeys(cells["budget"])))
    rows = [
        [Cell(str(name)), *(tinted(percent(value, 0), value, 0.0, 1.0) for value in values)]
        for name, values in zip(table.index, table.to_numpy(), strict=True)
    ]
    return Grid(caption, ["strategy", *map(str, table.columns)], rows)


def _points(mean: pd.DataFrame) -> list[dict[str, Any]]:
    """Cells with what the plot needs; costs as shares of vanilla's."""
    vanilla = mean[mean["strategy"] == "vanilla"].iloc[0]
    points = []
    for cell in mean.to_dict("records"):
        if cell["retention"] != cell["retention"]:
            continue
        shares = {name: cell[name] / vanilla[name] for name in COSTS}
        points.append({
            "strategy": str(cell["strategy"]),
            "budget": str(cell["budget"]),
            "value": [_finite(100 * cell[f"retention{end}"]) for end in ("", "_low", "_high")],
            "cost": {name: _finite(100 * share) for name, share in shares.items()},
        })  # fmt: skip
    return points


def _finite(value: float) -> float | None:
    """A number as JSON can hold it."""
    return round(float(value), 3) if value == value and abs(value) != float("inf") else None
