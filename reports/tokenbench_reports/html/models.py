"""The same strategies on several models, side by side."""

from tokenbench.comparison import MEAN, Comparison
from tokenbench_reports.html.grids import Cell, Grid, tinted
from tokenbench_reports.wording import interval, percent


def across_models(comparison: Comparison) -> Grid | None:
    """Retention of every cell on every model; None for a single model."""
    if len(comparison.models) < 2:
        return None
    cells = comparison.summary[(comparison.summary["task"] == MEAN) & (comparison.summary["strategy"] != "vanilla")]
    found = {(c["strategy"], c["budget"], c["model"]): c for c in cells.to_dict("records")}
    rows = []
    for strategy, budget in dict.fromkeys(zip(cells["strategy"], cells["budget"], strict=True)):
        row = [Cell(str(strategy)), Cell(str(budget))]
        for model in comparison.models:
            cell = found.get((strategy, budget, model))
            if cell is None:
                row.append(Cell("–", float("-inf"), "dim"))
                continue
            text = interval(cell["retention"], cell["retention_low"], cell["retention_high"])
            row.append(tinted(text, cell["retention"], 0.0, 1.0, percent(cell["score"]) + " % score"))
        rows.append(row)
    return Grid("Retention % [95 % CI] by model", ["strategy", "budget", *comparison.models], rows, 2, filters=[1])
