"""Figures for a paper, as PDF, SVG and PNG. They need matplotlib: ``pip install "tokenbench[figures]"``."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TextIO

from tokenbench.comparison import Comparison
from tokenbench.comparison.plots import (
    cells_of,
    differences_of,
    draw_cost,
    draw_differences,
    draw_ranks,
    draw_retention,
    is_priced,
    report_style,
    shared_budgets,
)
from tokenbench.comparison.ranking import Ranking, rank_strategies
from tokenbench.contract.report import Report
from tokenbench.store.report_files import subfolder, write_bytes
from tokenbench.store.run import Run

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMS = ("pdf", "svg", "png")


class FiguresReport(Report):
    """``figures/``: accuracy against cost, retention over budgets, differences of pairs, rank intervals."""

    name: ClassVar[str] = "figures"
    description: ClassVar[str] = (
        "figures/: accuracy against cost, accuracy kept over budgets, differences, ranks; PDF, SVG, PNG"
    )

    def write(self, comparison: Comparison, run: Run, folder: Path, out: TextIO) -> list[Path]:
        """Write every figure in every form."""
        written = []
        with report_style():
            target = subfolder(folder, "figures")
            for at, model in enumerate(comparison.models):
                suffix = f"-{at + 1}" if len(comparison.models) > 1 else ""
                for name, figure in _figures(comparison, model):
                    for form in FORMS:
                        path = target / f"{name}{suffix}.{form}"
                        plain = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(form)
                        drawn = io.BytesIO()
                        figure.savefig(drawn, format=form, dpi=200, bbox_inches="tight", metadata=plain)
                        written.append(write_bytes(path, drawn.getvalue()))
        return written


def _figures(comparison: Comparison, model: str) -> Iterator[tuple[str, Figure]]:
    cells = cells_of(comparison, model)
    if len(cells) > 1 and is_priced(cells):
        yield "accuracy-cost", _with_legend(draw_cost, cells)
    if len(shared_budgets(cells)) > 1:
        yield "retention", _with_legend(draw_retention, cells)
    rankings = [ranking for ranking in rank_strategies(comparison, model) if ranking.compared]
    if rankings:
        yield "ranks", _ranks(rankings)
    panels = [(ranking.budget, differences_of(comparison, model, ranking)) for ranking in rankings]
    panels = [(budget, pairs) for budget, pairs in panels if len(pairs)]
    if panels:
        yield "differences", _differences(panels)


def _axes(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def _with_legend(draw: Callable[[Axes, pd.DataFrame], None], cells: pd.DataFrame) -> Figure:
    figure, [axes] = _axes(5.5, 3.4)
    draw(axes, cells)
    figure.legend(loc="outside right upper", fontsize=6, frameon=False)
    return figure


def _differences(panels: list[tuple[str, pd.DataFrame]]) -> Figure:
    count = max(len(pairs) for _, pairs in panels)
    figure, every = _axes(3.2 * len(panels), 0.8 + 0.16 * count, len(panels))
    for axes, (budget, pairs) in zip(every, panels, strict=True):
        draw_differences(axes, pairs)
        axes.set_title(f"budget {budget}")
    return figure


def _ranks(rankings: list[Ranking]) -> Figure:
    count = max(len(ranking.strategies) for ranking in rankings)
    figure, panels = _axes(2.4 * len(rankings), 0.6 + 0.16 * count, len(rankings))
    for axes, ranking in zip(panels, rankings, strict=True):
        draw_ranks(axes, ranking)
    return figure
