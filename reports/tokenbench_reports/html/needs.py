"""Which strategy, if you want a certain thing: a few needs, each with its answer and what that costs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenbench.comparison.verdicts import Kind
from tokenbench.comparison.wording import number
from tokenbench_reports.html.cells import Cell
from tokenbench_reports.html.marks import Mark
from tokenbench_reports.sentences import shorten

MOST_FLOPS, MOST_CACHE = 60, 20
"""Per cent of the unpruned model's."""


@dataclass(frozen=True)
class Need:
    """A need and its answer."""

    wish: str
    """What is wanted."""
    strategy: str
    """The strategy that answers it; empty if none does."""
    look: str
    """The end of its classes."""
    text: str
    """The answer, or why there is none."""
    small: str
    """What it costs."""


def needs(cells: Sequence[Cell], marks: Mapping[str, Mark], margin: float) -> list[Need]:
    """Answer the usual needs, by the estimates."""
    known = [cell for cell in cells if cell.kept[0] == cell.kept[0] and not cell.floor]
    if not known:
        return []
    answers = [_answer("The most accuracy", _best(known), marks)]
    for key, most, name in (("flops", MOST_FLOPS, "FLOPs"), ("cache", MOST_CACHE, "KV cache")):
        priced = [cell for cell in known if key in cell.costs]
        if priced:
            wish = f"At most {most} % of the {name}"
            cheap = [cell for cell in priced if round(cell.costs[key][0]) <= most]
            least = min(priced, key=lambda cell: cell.costs[key][0])
            none = Need(
                wish,
                "",
                "",
                "none of these",
                f"{shorten(least.strategy)} at {least.budget} needs {number(least.costs[key][0], 0)} %, the least",
            )
            answers.append(_answer(wish, _best(cheap), marks) if cheap else none)
    return [*answers, _without_loss(known, marks, margin)]


def _best(cells: Sequence[Cell]) -> Cell:
    """The cell that keeps most, and the cheaper one of two that keep the same."""
    return max(cells, key=lambda cell: (cell.kept[0], -_tokens(cell)))


def _tokens(cell: Cell) -> float:
    """The visual tokens of a cell; where they are unknown, nobody may call it the cheaper one."""
    return cell.costs["tokens"][0] if "tokens" in cell.costs else float("inf")


def _answer(wish: str, cell: Cell, marks: Mapping[str, Mark]) -> Need:
    return Need(
        wish, cell.strategy, marks[cell.strategy].look, f"at {cell.budget} keeps {number(cell.kept[0])} %", _price(cell)
    )


def _price(cell: Cell) -> str:
    costs = (("flops", "FLOPs"), ("cache", "KV cache"))
    return ", ".join(f"{number(cell.costs[key][0], 0)} % of the {name}" for key, name in costs if key in cell.costs)


def _without_loss(cells: Sequence[Cell], marks: Mapping[str, Mark], margin: float) -> Need:
    """The cheapest cell that is shown to lose no more than the margin."""
    wish = f"No more than {margin:g} {'point' if margin == 1 else 'points'} lost"
    shown = [cell for cell in cells if cell.verdict and cell.verdict.lossless]
    if shown:
        return _answer(wish, min(shown, key=lambda cell: (_tokens(cell), -cell.kept[0])), marks)
    counts = Counter(
        "lose more" if cell.verdict and cell.verdict.kind is Kind.LOSES_MORE else "are open" for cell in cells
    )
    parts = [f"{count} of {len(cells)} {what}" for what, count in sorted(counts.items(), reverse=True)]
    return Need(wish, "", "", "no method is shown to", "; ".join(parts))
