"""Figures for a paper, as PDF, SVG and PNG. They need matplotlib: ``pip install "tokenbench[figures]"``."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TextIO

import pandas as pd

from tokenbench.comparison import MEAN, Comparison
from tokenbench.comparison.panel import budget_size
from tokenbench.contract.report import Report
from tokenbench.errors import MachineError, printable
from tokenbench.registry.installation import install
from tokenbench.store.report_files import subfolder, write_bytes
from tokenbench.store.run import Run
from tokenbench_reports.standing import Standing, standings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMS = ("pdf", "svg", "png")
COLOURS = ("#0b66b8", "#c2410c", "#15803d", "#9d2f8f", "#8a6d00", "#0e7c86", "#b4234a", "#55606e")
SHAPES = "os^Dv*P"
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,  # text stays text; type 3 fonts are refused by publishers
    "svg.hashsalt": "tokenbench",
    "text.parse_math": False,  # names are names, whatever dollars they hold
}


class FiguresReport(Report):
    """``figures/``: accuracy against cost, retention over budgets, rank intervals."""

    name: ClassVar[str] = "figures"
    description: ClassVar[str] = "figures/: accuracy against cost, retention over budgets, ranks; PDF, SVG, PNG"

    def write(self, comparison: Comparison, run: Run, folder: Path, out: TextIO) -> list[Path]:
        """Write every figure in every form."""
        try:
            import matplotlib
        except ImportError:
            raise MachineError("figures need matplotlib", install("figures")) from None
        target = subfolder(folder, "figures")
        written = []
        with matplotlib.rc_context(STYLE):
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
    cells = comparison.summary[(comparison.summary["model"] == model) & (comparison.summary["task"] == MEAN)]
    cells = cells[cells["retention"].notna()]
    if len(cells) > 1:
        yield "accuracy-cost", _cost(cells)
    budgets = [budget for budget in dict.fromkeys(cells["budget"]) if budget_size(str(budget)) < float("inf")]
    if len(budgets) > 1:
        yield "retention", _curves(cells, sorted(map(str, budgets), key=lambda budget: -budget_size(budget)))
    groups = [group for group in standings(comparison, model) if len(group.strategies) > 1]
    if groups:
        yield "ranks", _ranks(groups)


def _axes(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def _looks(cells: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Colour and shape of every strategy, the same in all figures."""
    names = dict.fromkeys(cells["strategy"])
    return {str(name): (COLOURS[at % len(COLOURS)], SHAPES[at % len(SHAPES)]) for at, name in enumerate(names)}


def _whiskers(rows: pd.DataFrame) -> list[list[float]]:
    """Lengths below and above the value, in per cent."""
    down, up = rows["retention"] - rows["retention_low"], rows["retention_high"] - rows["retention"]
    return [(100 * side.clip(lower=0).fillna(0)).tolist() for side in (down, up)]


def _cost(cells: pd.DataFrame) -> Figure:
    figure, [axes] = _axes(5.5, 3.4)
    vanilla = cells[cells["strategy"] == "vanilla"].iloc[0]
    column = "flops" if cells["flops"].notna().all() else "realised_tokens"
    for name, (colour, shape) in _looks(cells).items():
        rows = cells[cells["strategy"] == name]
        x = 100 * rows[column] / vanilla[column]
        axes.errorbar(
            x, 100 * rows["retention"], yerr=_whiskers(rows), fmt=shape, color=colour, ms=4, lw=0.7, label=_label(name)
        )
    axes.axhline(100, color="0.5", lw=0.7, ls=":")
    what = "FLOPs of encoder and prefill" if column == "flops" else "visual tokens"
    axes.set(xlabel=f"{what}, % of vanilla", ylabel="retention %")
    figure.legend(loc="outside right upper", fontsize=6, frameon=False)
    return figure


def _curves(cells: pd.DataFrame, budgets: list[str]) -> Figure:
    figure, [axes] = _axes(5.5, 3.4)
    place = {budget: at for at, budget in enumerate(budgets)}
    for name, (colour, shape) in _looks(cells).items():
        rows = cells[(cells["strategy"] == name) & cells["budget"].isin(budgets)]
        rows = rows.sort_values("budget", key=lambda column: column.map(place))
        if len(rows) < 2:
            continue
        x = [place[str(budget)] for budget in rows["budget"]]
        axes.fill_between(x, 100 * rows["retention_low"], 100 * rows["retention_high"], color=colour, alpha=0.12, lw=0)
        axes.plot(x, 100 * rows["retention"], color=colour, marker=shape, ms=4, lw=1, label=_label(name))
    axes.axhline(100, color="0.5", lw=0.7, ls=":")
    axes.set(xlabel="budget", ylabel="retention %")
    axes.set_xticks(range(len(budgets)), budgets)
    figure.legend(loc="outside right upper", fontsize=6, frameon=False)
    return figure


def _ranks(groups: list[Standing]) -> Figure:
    count = max(len(group.strategies) for group in groups)
    figure, panels = _axes(2.4 * len(groups), 0.6 + 0.16 * count, len(groups))
    for axes, group in zip(panels, groups, strict=True):
        for at, name in enumerate(group.strategies):
            low, high = group.ranks(name)
            axes.plot([low, high], [at, at], color=COLOURS[0], lw=4, solid_capstyle="round", alpha=0.8)
        axes.set_yticks(range(len(group.strategies)), [printable(name)[:20] for name in group.strategies], fontsize=6)
        axes.invert_yaxis()
        axes.set(title=f"budget {group.budget}", xlabel="rank, simultaneous 95 %")
    return figure


def _label(name: str) -> str:
    """A name for the legend, which would leave out one that begins with an underscore."""
    text = printable(name)[:30]
    return f" {text}" if text.startswith("_") else text
