"""Everything that the page shows of one model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tokenbench.comparison import Comparison
from tokenbench.comparison.ranking import Ranking, rank_strategies
from tokenbench.comparison.turns import turns_table
from tokenbench.tables import Table
from tokenbench_reports.beside import on_this_hardware, published
from tokenbench_reports.equality import calibrated_tables
from tokenbench_reports.findings import vanilla_of
from tokenbench_reports.headline import Headline, make_headline
from tokenbench_reports.html.cells import AXES, Cell, budgets_of, cells_of_model, keep_highest
from tokenbench_reports.html.compare import Asking, CompareView, compare_view
from tokenbench_reports.html.elsewhere import PublishedView, published_views
from tokenbench_reports.html.gallery import Gallery
from tokenbench_reports.html.maps import BiasMap, bias_maps
from tokenbench_reports.html.marks import Mark, assign_marks
from tokenbench_reports.html.multiples import Multiples, multiples
from tokenbench_reports.html.needs import Need, needs
from tokenbench_reports.html.plot import CostView, cost_view
from tokenbench_reports.html.results import Results, results
from tokenbench_reports.html.tasks import TasksView, tasks_view
from tokenbench_reports.html.triangle import Triangle, triangle
from tokenbench_reports.html.where import WhereView, where_views


@dataclass(frozen=True)
class ModelView:
    """One model's part of the page."""

    model: str
    """Its name."""
    headline: Headline
    """What was found at the budget that the page opens with."""
    headlines: dict[str, Headline | None]
    """What was found at every budget of the page; None where the model has no results."""
    marks: dict[str, Mark]
    """How strategies are drawn."""
    cells: list[Cell]
    """Its cells."""
    costs: list[CostView]
    """Accuracy against every cost."""
    left_out: int
    """How many cells are in the files only, since there are too many to show."""
    needs: list[Need]
    """Which method, if you want a certain thing."""
    results: Results
    """The table of results."""
    triangles: list[Triangle]
    """All pairs, budget by budget."""
    multiples: Multiples | None
    """Accuracy over the budgets; None if there is one budget only."""
    tasks: list[TasksView]
    """Accuracy by task, budget by budget; empty if there is one task only."""
    turns: Table | None
    """Accuracy by turn; None for a run without turns."""
    where: list[WhereView]
    """Where strategies lose, budget by budget."""
    compare: CompareView | None
    """Two strategies side by side; None if there is nothing to compare."""
    gallery: Gallery
    """Samples with pictures, or why there are none."""
    asked: int
    """How many questions the run has."""
    maps: dict[str, list[BiasMap]]
    """By budget, where on the image the methods keep tokens."""
    elsewhere: list[PublishedView]
    """What papers print for the same methods on another model, budget by budget."""
    claims: list[Table]
    """What papers print for this model."""
    calibrated: list[Table]
    """How equal the work of calibrated strategies is to that of their budgets."""
    benches: list[Table]
    """Time and memory."""

    @property
    def every_warning(self) -> list[tuple[str, str]]:
        """(budget, warning) of the headlines of all budgets."""
        return [(at, text) for at, headline in self.headlines.items() if headline for text in headline.warnings]

    @property
    def readouts(self) -> list[dict[str, str]]:
        """What the plot says about every mark."""
        return [{"method": cell.strategy, "text": cell.text} for cell in self.cells]


@dataclass(frozen=True)
class Answers:
    """What the page needs of a model's answers."""

    mapped: pd.DataFrame
    """Some rows with what they kept, the same questions in every cell."""
    gallery: Gallery
    """Samples with pictures, or why there are none."""
    asking: Asking
    """All questions."""
    rows: pd.DataFrame
    """All scores, of one seed of each cell."""


def model_view(
    comparison: Comparison, model: str, answers: Answers, about: Mapping[str, Any], budgets: Sequence[str]
) -> ModelView:
    """Arrange one model's results.

    Args:
        comparison: What was measured.
        model: The model.
        answers: Its answers.
        about: What is known of the run.
        budgets: The budgets of the page, of which the model may have some.
    """
    benches = about.get("bench")
    every = cells_of_model(comparison, model, benches if isinstance(benches, list) else [])
    cells, marks = keep_highest(every), assign_marks(every)
    own = set(budgets_of(cells))
    rankings = {ranking.budget: ranking for ranking in rank_strategies(comparison, model) if ranking.budget in own}
    summary = comparison.summary[comparison.summary["model"] == model]
    pairs = comparison.pairs[comparison.pairs["model"] == model]
    vanilla = vanilla_of(comparison, model)
    here = [budget for budget in budgets if budget in rankings]
    first = make_headline(comparison, model)
    found = {
        budget: first if budget == first.budget else make_headline(comparison, model, budget) for budget in budgets
    }
    headlines = {budget: one if one.budget == budget else None for budget, one in found.items()}
    elsewhere = published_views(comparison, model, cells, here, marks)
    several = summary["task"].nunique() > 2  # one of them is the mean
    return ModelView(
        model,
        first,
        headlines,
        marks,
        cells,
        [cost_view(cells, axis, marks, budgets) for axis in AXES],
        len(every) - len(cells),
        needs(every, marks, comparison.margin),
        results(cells, rankings, marks, vanilla, comparison.margin),
        [triangle(rankings[budget], pairs, marks, found[budget].pairs) for budget in here if rankings[budget].compared],
        multiples(cells, marks),
        [tasks_view(summary, cells, budget, marks) for budget in here] if several else [],
        turns_table(comparison, model),
        where_views(comparison, model, here, cells, marks),
        compare_view(cells, here, marks, pairs, answers.mapped, answers.gallery, answers.asking),
        answers.gallery,
        len(answers.asking.index.questions),
        _maps(answers.mapped, rankings, {cell.strategy for cell in cells}),
        elsewhere,
        [] if elsewhere else published(comparison, model, about),
        calibrated_tables(comparison, model, about),
        on_this_hardware(comparison, model, about),
    )


def _maps(samples: pd.DataFrame, rankings: Mapping[str, Ranking], shown: set[str]) -> dict[str, list[BiasMap]]:
    """The maps of every budget, in the order of accuracy."""
    every = bias_maps(samples)
    found = {}
    for budget, ranking in rankings.items():
        here = [one for one in every if one.budget == budget and one.strategy in shown & set(ranking.strategies)]
        found[budget] = sorted(here, key=lambda one: ranking.strategies.index(one.strategy))
    return found
