"""What may be concluded, and what not, in one paragraph: the first thing a reader sees."""

from collections.abc import Iterator

import pandas as pd

from tokenbench.comparison import MEAN, Comparison
from tokenbench.comparison.ranking import Ranking, rank_strategies
from tokenbench.comparison.wording import count_of, join_names, number
from tokenbench.contract.cells import VANILLA

SHOWN = 6
"""Longer lists of names are cut in prose; the tables hold them all."""


def lead(comparison: Comparison, model: str) -> str:
    """The paragraph on one model, in the fixed words."""
    return " ".join(_sentences(comparison, model))


def _sentences(comparison: Comparison, model: str) -> Iterator[str]:
    pairs = comparison.pairs[comparison.pairs["model"] == model]
    cells = comparison.summary[(comparison.summary["model"] == model) & (comparison.summary["task"] == MEAN)]
    measured = cells[cells["strategy"] == VANILLA].iloc[0]
    questions, images = count_of(int(measured["n"]), "question"), count_of(int(measured["clusters"]), "image")
    yield f"{model} answered {questions} about {images}."
    yield from _vanilla(pairs[pairs["family"] == "F1"], comparison.margin)
    groups = [ranking for ranking in rank_strategies(comparison, model) if ranking.compared]
    between = pairs[pairs["family"] == "F2"]
    if groups and not any(group.beats for group in groups):
        yield "No difference between any two strategies is significant: they are not distinguishable at this n."
    else:
        yield from (_best(group) for group in groups)
    if comparison.left_out:
        yield "There are too many strategies to compare every two of them, so that none is said to be the best."
    detectable = between["mde"].dropna()
    if groups and len(detectable):
        low, high = number(100 * detectable.min()), number(100 * detectable.max())
        sizes = low if low == high else f"{low} to {high}"
        yield (
            f"A true difference between two strategies of less than {sizes} points of retention"
            f"{'' if low == high else ', depending on the pair,'} would have been missed more than one time in five: "
            "not distinguishable does not mean equal."
        )
    yield "Nothing follows for other tasks, models or prompts."


def _vanilla(rows: pd.DataFrame, margin: float) -> Iterator[str]:
    """How many cells have which verdict; those that lose nothing that matters are named."""
    if rows.empty:
        return
    counts = rows["verdict"].value_counts()
    good = [verdict for verdict in counts.index if verdict.lossless]
    for verdict in good:
        chosen = rows[rows["verdict"] == verdict]
        names = [f"{a} at {b}" for a, b in zip(chosen["a"], chosen["budget"], strict=True)]
        yield f"Against vanilla, {verdict}: {_few(names)}."
    if not good:
        yield f"No strategy has been shown to be non-inferior to vanilla within {margin:g} point{'' if margin == 1 else 's'} of retention."
    rest = [f"“{verdict}” for {counts[verdict]}" for verdict in counts.index if verdict not in good]
    if rest:
        yield f"Against vanilla, the verdict is {join_names(rest)} of {count_of(len(rows), 'cell')} (a strategy at a budget)."


def _best(group: Ranking) -> str:
    if group.winner:
        return f"At {group.budget}, {group.winner} is better than every other strategy{_price(group)}."
    return (
        f"At {group.budget}, no best can be named: {_few(group.top)} are not distinguishable from the highest, "
        f"{len(group.strategies) - len(group.top)} of {len(group.strategies)} are worse."
    )


def _price(group: Ranking) -> str:
    """Whom the winner outspent, in visual tokens."""
    cheaper = group.cheaper_than(str(group.winner))
    return f", but it kept more visual tokens than {_few(cheaper)}" if cheaper else ""


def _few(names: list[str]) -> str:
    return (
        join_names(names)
        if len(names) <= SHOWN
        else join_names([*names[: SHOWN - 1], f"{len(names) - SHOWN + 1} more"])
    )
