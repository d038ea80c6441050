"""The plots of a comparison on matplotlib axes: accuracy against cost, retention over the budgets, differences, ranks.

matplotlib is imported where something is drawn: it comes with the extra ``figures``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from tokenbench.comparison.pairs import MEAN
from tokenbench.comparison.panel import budget_size
from tokenbench.comparison.ranking import Ranking, rank_strategies
from tokenbench.contract.cells import VANILLA
from tokenbench.errors import MachineError, UsageError, printable, unknown
from tokenbench.registry.installation import install

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from tokenbench.comparison import Comparison

__all__ = [
    "KINDS",
    "PlotKind",
    "cells_of",
    "differences_of",
    "draw_cost",
    "draw_differences",
    "draw_ranks",
    "draw_retention",
    "is_priced",
    "plot",
    "report_style",
    "shared_budgets",
]

PlotKind = Literal["accuracy-cost", "retention", "differences", "ranks"]
KINDS: tuple[PlotKind, ...] = ("accuracy-cost", "retention", "differences", "ranks")
MOST_PAIRS = 30
"""Pairs that a plot of differences shows; of more, it shows those with the strategy that keeps most."""
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


@contextmanager
def report_style() -> Iterator[None]:
    """Draw inside this context in the reports' style.

    Raises:
        MachineError: If matplotlib is not installed; the error says how to install it.
    """
    try:
        import matplotlib
    except ImportError:
        raise MachineError("plots need matplotlib", install("figures")) from None
    with matplotlib.rc_context(STYLE):
        yield


def plot(
    comparison: Comparison, kind: PlotKind, model: str | None = None, budget: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw one plot of a comparison; see ``Comparison.plot``."""
    if kind not in KINDS:
        raise unknown("plot", kind, KINDS)
    model = _model_of(comparison, model)
    cells = cells_of(comparison, model)
    rankings = {ranking.budget: ranking for ranking in rank_strategies(comparison, model) if ranking.compared}
    at_budget = kind in ("differences", "ranks")
    if kind == "accuracy-cost" and len(cells) < 2:
        raise UsageError(
            f"there is no accuracy kept of {model} to plot", "run a strategy besides vanilla, or more images"
        )
    if kind == "accuracy-cost" and not is_priced(cells):
        raise UsageError(
            f"what the strategies on {model} cost is unknown, so that there is no plot of accuracy against cost"
        )
    if kind == "retention" and len(shared_budgets(cells)) < 2:
        raise UsageError(f"a plot over budgets needs two budgets, but {model} ran at fewer")
    if at_budget and not rankings:
        raise UsageError(
            f"{kind} need two strategies at one budget, and every pair compared, which {model} does not have"
        )
    if at_budget and budget is not None and budget not in rankings:
        raise unknown("budget", budget, rankings)
    with report_style():
        own = ax is None
        if ax is None:
            from matplotlib import pyplot

            _, ax = pyplot.subplots(figsize=(5.5, 3.4), layout="constrained")
        if at_budget:
            shown = min(rankings, key=budget_size) if budget is None else budget
            if kind == "ranks":
                draw_ranks(ax, rankings[shown])
            else:
                draw_differences(ax, differences_of(comparison, model, rankings[shown]))
            ax.set_title(f"{printable(model)}, budget {shown}")
            return ax
        (draw_cost if kind == "accuracy-cost" else draw_retention)(ax, cells)
        ax.set_title(printable(model))
        place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if own else {}
        ax.legend(fontsize=6, frameon=False, **place)
    return ax


def _model_of(comparison: Comparison, model: str | None) -> str:
    if model is None and len(comparison.models) == 1:
        return comparison.models[0]
    if model is None:
        raise UsageError("a plot shows one model only", f"choose one: {', '.join(comparison.models)}")
    if model not in comparison.models:
        raise unknown("model", model, comparison.models)
    return model


def cells_of(comparison: Comparison, model: str) -> pd.DataFrame:
    """The model's cells over all tasks whose retention is known."""
    cells = comparison.summary[(comparison.summary["model"] == model) & (comparison.summary["task"] == MEAN)]
    return cells[cells["retention"].notna()]


def is_priced(cells: pd.DataFrame) -> bool:
    """Whether the FLOPs or the visual tokens of every cell are known."""
    return any(bool(cells[column].notna().all()) for column in ("flops", "realised_tokens"))


def shared_budgets(cells: pd.DataFrame) -> list[str]:
    """The budgets that have a size, the largest first."""
    budgets = [str(budget) for budget in dict.fromkeys(cells["budget"]) if budget_size(str(budget)) < float("inf")]
    return sorted(budgets, key=lambda budget: -budget_size(budget))


def draw_cost(axes: Axes, cells: pd.DataFrame) -> None:
    """Draw retention with its interval against FLOPs as a share of vanilla's.

    If FLOPs are not known, it is drawn against visual tokens.
    """
    vanilla = cells[cells["strategy"] == VANILLA].iloc[0]
    column = "flops" if cells["flops"].notna().all() else "realised_tokens"
    for name, (colour, shape) in _markers(cells).items():
        rows = cells[cells["strategy"] == name]
        x = 100 * rows[column] / vanilla[column]
        axes.errorbar(
            x, 100 * rows["retention"], yerr=_whiskers(rows), fmt=shape, color=colour, ms=4, lw=0.7, label=_label(name)
        )
    axes.axhline(100, color="0.5", lw=0.7, ls=":")
    what = "FLOPs of encoder and prefill" if column == "flops" else "visual tokens"
    axes.set(xlabel=f"{what}, % of vanilla", ylabel="accuracy kept %")


def draw_retention(axes: Axes, cells: pd.DataFrame) -> None:
    """Draw retention with its interval over the budgets, a line for every strategy that ran at two or more."""
    budgets = shared_budgets(cells)
    place = {budget: at for at, budget in enumerate(budgets)}
    for name, (colour, shape) in _markers(cells).items():
        rows = cells[(cells["strategy"] == name) & cells["budget"].isin(budgets)]
        rows = rows.sort_values("budget", key=lambda column: column.map(place))
        if len(rows) < 2:
            continue
        x = [place[str(budget)] for budget in rows["budget"]]
        axes.fill_between(x, 100 * rows["retention_low"], 100 * rows["retention_high"], color=colour, alpha=0.12, lw=0)
        axes.plot(x, 100 * rows["retention"], color=colour, marker=shape, ms=4, lw=1, label=_label(name))
    axes.axhline(100, color="0.5", lw=0.7, ls=":")
    axes.set(xlabel="budget", ylabel="accuracy kept %")
    axes.set_xticks(range(len(budgets)), budgets)


def draw_ranks(axes: Axes, ranking: Ranking) -> None:
    """Draw the ranks that the verdicts leave open at one budget, the best strategy on top."""
    from matplotlib.ticker import MaxNLocator

    # The dots at the ends show a rank that is certain: a line without length is not drawn.
    style: dict[str, Any] = {"color": COLOURS[0], "lw": 4, "solid_capstyle": "round", "marker": "o", "ms": 4, "mew": 0}
    for at, name in enumerate(ranking.strategies):
        low, high = ranking.ranks(name)
        axes.plot([low, high], [at, at], **style)
    axes.set_yticks(range(len(ranking.strategies)), [printable(name)[:20] for name in ranking.strategies], fontsize=6)
    axes.set(xlim=(0.5, len(ranking.strategies) + 0.5), ylim=(len(ranking.strategies) - 0.5, -0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(title=f"budget {ranking.budget}", xlabel="rank, simultaneous 95 %")


def differences_of(comparison: Comparison, model: str, ranking: Ranking) -> pd.DataFrame:
    """The pairs of strategies at one budget whose difference has an interval, turned so that the higher one stands first.

    They stand in the order of the ranking. Of more than ``MOST_PAIRS`` pairs, there are those with its first strategy.
    """
    pairs = comparison.pairs
    pairs = pairs[
        (pairs["model"] == model)
        & (pairs["family"] == "F2")
        & (pairs["budget"] == ranking.budget)
        & (pairs["task"] == MEAN)
        & pairs["low"].notna()
    ]
    place = {name: at for at, name in enumerate(ranking.strategies)}
    turned = pairs["a"].map(place) > pairs["b"].map(place)
    rest = pairs[turned]
    swapped = {
        "a": rest["b"],
        "b": rest["a"],
        "difference": -rest["difference"],
        "low": -rest["high"],
        "high": -rest["low"],
    }
    pairs = pairs.copy()
    pairs.loc[turned, list(swapped)] = rest.assign(**swapped)[list(swapped)]
    if len(pairs) > MOST_PAIRS:
        pairs = pairs[pairs["a"] == ranking.strategies[0]]
    order = pairs.assign(first=pairs["a"].map(place), second=pairs["b"].map(place))
    return order.sort_values(["first", "second"])


def draw_differences(axes: Axes, pairs: pd.DataFrame) -> None:
    """Draw the differences of the accuracy kept with their intervals, the first pair on top; grey ones are not shown to differ."""
    for at, row in enumerate(pairs.to_dict("records")):
        colour = COLOURS[0] if row["verdict"].sign else "0.55"
        x = 100 * row["difference"]
        whiskers = [[x - 100 * row["low"]], [100 * row["high"] - x]]
        axes.errorbar(x, at, xerr=whiskers, fmt="o", color=colour, ms=4, lw=1, capsize=2)
    names = [f"{printable(row['a'])[:20]} − {printable(row['b'])[:20]}" for row in pairs.to_dict("records")]
    axes.axvline(0, color="0.5", lw=0.7, ls=":")
    axes.set_yticks(range(len(names)), names, fontsize=6)
    axes.set(ylim=(len(names) - 0.5, -0.5), xlabel="difference of accuracy kept, points, simultaneous 95 %")


def _markers(cells: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Colour and shape of every strategy, the same in all plots."""
    names = dict.fromkeys(cells["strategy"])
    return {str(name): (COLOURS[at % len(COLOURS)], SHAPES[at % len(SHAPES)]) for at, name in enumerate(names)}


def _whiskers(rows: pd.DataFrame) -> Sequence[list[float]]:
    """Lengths below and above the value, in per cent."""
    down, up = rows["retention"] - rows["retention_low"], rows["retention_high"] - rows["retention"]
    return [(100 * side.clip(lower=0).fillna(0)).tolist() for side in (down, up)]


def _label(name: str) -> str:
    """A name for the legend, which would leave out one that begins with an underscore."""
    text = printable(name)[:30]
    return f" {text}" if text.startswith("_") else text
