"""Everything the page shows of one model, but the samples."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from tokenbench.comparison import MEAN, Comparison
from tokenbench.comparison.ranking import rank_strategies
from tokenbench.comparison.tables import SKILL, cells_table, pairs_table, tasks_table
from tokenbench.comparison.wording import percent
from tokenbench.contract.cells import VANILLA
from tokenbench.tables import Column, Entry, Table
from tokenbench_reports.headline import make_headline
from tokenbench_reports.html.budget_view import BudgetView, budget_view
from tokenbench_reports.html.curves import Curve, curves
from tokenbench_reports.html.maps import bias_maps

COSTS = {"realised_tokens": "visual tokens", "flops": "FLOPs", "cache_bytes": "KV cache"}


@dataclass(frozen=True)
class ModelView:
    """One model's part of the page."""

    model: str
    """Its name."""
    lead: str
    """The paragraph of conclusions."""
    cells: Table
    """The summary over all tasks."""
    pairs: Table | None
    """The pairs of strategies that are compared; None if there are none."""
    tasks: Table
    """The score of every cell on every task."""
    recall: Table | None
    """Evidence recall by budget; None where it is unknown."""
    skill: list[Table]
    """Skill over each floor by budget."""
    budgets: list[BudgetView]
    """What is shown for one budget at a time."""
    curves: list[Curve]
    """Retention over the budgets."""
    points: list[dict[str, Any]]
    """The cells as the accuracy-cost plot takes them."""


def model_view(comparison: Comparison, model: str, samples: pd.DataFrame) -> ModelView:
    """Arrange one model's results; ``samples`` are some of its rows of the run (see ``thin``)."""
    summary = comparison.summary[comparison.summary["model"] == model]
    mean = summary[summary["task"] == MEAN]
    pairs = comparison.pairs[comparison.pairs["model"] == model]
    found = make_headline(comparison, model)
    rankings = [ranking for ranking in rank_strategies(comparison, model) if ranking.compared]
    between = pairs[pairs["family"] == "F2"]
    maps = bias_maps(samples) if rankings else []
    skills = [str(name) for name in summary.columns if str(name).startswith(SKILL)]
    return ModelView(
        model=model,
        lead=f"{found.text}. {found.support_text} {found.pairs} {found.scope}",
        cells=cells_table(comparison, model),
        pairs=pairs_table(comparison, model) if len(between) else None,
        tasks=tasks_table(comparison, model),
        recall=_by_budget(
            "Evidence recall: share of the answer's visual tokens that were kept to the end, %", mean, "evidence_recall"
        ),
        skill=[table for name in skills if (table := _by_budget(_skill_title(name), mean, name))],
        budgets=[budget_view(ranking, between, summary, samples, maps) for ranking in rankings],
        curves=curves(mean),
        points=_points(mean),
    )


def _skill_title(name: str) -> str:
    return f"Skill over the floor “{name.removeprefix(SKILL)}”, %: 0 is the floor, 100 is vanilla"


def _by_budget(title: str, mean: pd.DataFrame, column: str) -> Table | None:
    """One row per strategy, one column per budget, tinted; None where there is no number."""
    cells = mean[(mean["strategy"] != VANILLA) & mean[column].notna()]
    if cells.empty:
        return None
    values = {(cell["strategy"], cell["budget"]): cell[column] for cell in cells.to_dict("records")}

    def value(budget: str, strategy: str) -> Entry:
        share = values.get((strategy, budget), float("nan"))
        return Entry.number(percent(share, 0), share)

    return Table.of(
        title,
        [
            Column("strategy", str, key=True),
            *(Column(str(budget), partial(value, budget), look="tint") for budget in dict.fromkeys(cells["budget"])),
        ],
        dict.fromkeys(map(str, cells["strategy"])),
    )


def _points(mean: pd.DataFrame) -> list[dict[str, Any]]:
    """Cells with what the plot needs; costs as shares of vanilla's."""
    vanilla = mean[mean["strategy"] == VANILLA].iloc[0]
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
