"""Two strategies side by side: a sentence for every pair, who answers what right, and the pair that is shown first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tokenbench.comparison.wording import number, percent
from tokenbench.contract.cells import VANILLA
from tokenbench_reports.html.browse.answers import (
    ANSWERED,
    Known,
    Read,
    answer_of,
    asked_sample,
    cut,
    slices,
    target_of,
)
from tokenbench_reports.html.browse.index import Index
from tokenbench_reports.html.cells import Cell, at_budget
from tokenbench_reports.html.gallery import RIGHT, Gallery
from tokenbench_reports.html.kept import agreement
from tokenbench_reports.html.marks import Mark, look_of
from tokenbench_reports.html.scenes import Scene, find_cell, scene

MOST = 30
"""Strategies to choose from: those that keep most."""
NOISE = "Two runs of the unpruned model differ on as many answers: this is at the noise floor."
LISTED = 6
"""Questions that are shown without script."""
LONGEST = 120
"""Longer questions and answers are cut where there is no script."""


@dataclass(frozen=True)
class Asking:
    """All questions of a model, and where the answers to some of them are read."""

    index: Index
    """The questions with their verdicts."""
    read: Read
    """Reads answers."""
    known: Known
    """The questions of the suite, or why they cannot be shown."""


@dataclass(frozen=True)
class Asked:
    """A question with the answers of two strategies."""

    task: str
    """The task."""
    text: str
    """The question."""
    target: str
    """The right answer."""
    answers: list[tuple[str | None, bool]]
    """(answer, whether it is right) of both; None where the answer is unknown."""


@dataclass(frozen=True)
class PairView:
    """The default pair at one budget."""

    budget: str
    """The budget."""
    text: str
    """How the two compare."""
    counts: list[list[int]]
    """How many questions: first right or wrong, by second right or wrong."""
    example: dict[str, Any] | None
    """The sample that is shown; None if there is none."""
    scenes: list[Scene]
    """What both kept of it."""
    asked: list[Asked]
    """Some questions that the first answers right and the second wrong."""


@dataclass(frozen=True)
class CompareView:
    """The whole section."""

    names: list[tuple[str, str]]
    """(strategy, look) to choose from."""
    default: tuple[str, str]
    """The pair that is shown first."""
    pairs: list[PairView]
    """It at every budget."""
    data: dict[str, Any]
    """What the script reads."""


def compare_view(
    cells: Sequence[Cell],
    budgets: Sequence[str],
    marks: Mapping[str, Mark],
    pairs: pd.DataFrame,
    samples: pd.DataFrame,
    shown: Gallery,
    asking: Asking,
) -> CompareView | None:
    """Arrange the section; None if there is nothing to compare.

    Args:
        cells: The model's cells.
        budgets: The budgets to choose from.
        marks: How strategies are drawn.
        pairs: The model's pairs of families F1 and F2.
        samples: Some rows of the model, with what they kept.
        shown: The samples with pictures.
        asking: The questions.
    """
    if not cells or not budgets:
        return None
    ranked = list(dict.fromkeys(cell.strategy for budget in budgets for cell in at_budget(cells, budget)))[:MOST]
    names = [*ranked, VANILLA]
    first, second = names[0], names[1]
    texts = _sentences(pairs, budgets, set(names), cells, agreement(samples[samples["strategy"].isin(ranked)]))
    asked = _divided(first, second, budgets, asking)
    views = [_pair(first, second, budget, texts, shown, asking.index, asked[budget]) for budget in budgets]
    data: dict[str, Any] = {"names": names, "budgets": list(budgets), "texts": texts, "samples": shown.samples}
    return CompareView([(name, look_of(marks, name)) for name in names], (first, second), views, data)


def _pair(
    a: str, b: str, budget: str, texts: Mapping[str, str], shown: Gallery, index: Index, asked: list[Asked]
) -> PairView:
    cells = index.cell(a, budget), index.cell(b, budget)
    counts = [[0, 0], [0, 0]] if None in cells else index.count(*cells)  # type: ignore[arg-type]
    example = choose_example(shown.samples, a, b, budget)
    scenes = [one for name in (a, b) if example and (one := scene(example, name, budget))]
    return PairView(budget, texts.get(pair_key(a, b, budget), ""), counts, example, scenes, asked)


def choose_example(samples: Sequence[dict[str, Any]], a: str, b: str, budget: str) -> dict[str, Any] | None:
    """The first sample that the first strategy gets right and the second wrong, or else the first of all."""
    for sample in samples:
        first, second = (find_cell(sample, name, budget) for name in (a, b))
        if first and second and first["right"] and not second["right"]:
            return sample
    return samples[0] if samples else None


def _divided(a: str, b: str, budgets: Sequence[str], asking: Asking) -> dict[str, list[Asked]]:
    """By budget, some questions that the first answers right and the second wrong."""
    index, chosen = asking.index, {}
    for budget in budgets:
        first, second = index.cell(a, budget), index.cell(b, budget)
        if first is not None and second is not None:
            chosen[budget] = [(at, (first, second)) for at in index.divided(first, second, LISTED)]
    numbers = sorted({at for some in chosen.values() for at, _ in some})
    rows = dict(slices(index, numbers, asking.read, ANSWERED))
    return {
        budget: [
            _asked(index.questions[at], [rows[at][cell] for cell in cells], asking.known)
            for at, cells in chosen.get(budget, [])
        ]
        for budget in budgets
    }


def _asked(question: tuple[str, str], rows: Sequence[Mapping[str, Any]], known: Known) -> Asked:
    target = target_of(rows)
    sample = asked_sample(question, target, known)
    answers = [(answer_of(row, LONGEST), bool(row["score"] >= RIGHT)) for row in rows]
    return Asked(
        question[0], cut(question[1] if sample is None else sample.question, LONGEST), cut(target, LONGEST), answers
    )


def pair_key(a: str, b: str, budget: str) -> str:
    """The key of a pair at a budget, whichever comes first."""
    return "\n".join([*sorted((a, b)), budget])


def _sentences(
    pairs: pd.DataFrame, budgets: Sequence[str], names: set[str], cells: Sequence[Cell], shared: pd.DataFrame
) -> dict[str, str]:
    """How every pair compares at every budget."""
    by_name = {(cell.strategy, cell.budget): cell for cell in cells}
    common = {pair_key(row["a"], row["b"], row["budget"]): row for row in shared.to_dict("records")}
    found = {}
    for row in pairs[pairs["family"].isin(["F1", "F2"])].to_dict("records"):
        a, b, budget = str(row["a"]), str(row["b"]), str(row["budget"])
        if names.issuperset((a, b)) and budget in budgets:
            key = pair_key(a, b, budget)
            parts = [
                _difference(row),
                NOISE if row.get("at_noise_floor", False) else "",
                _costs(by_name.get((a, budget)), by_name.get((b, budget))),
                _common(common.get(key)),
            ]
            found[key] = " ".join(filter(None, parts))
    return found


def _difference(row: Mapping[Any, Any]) -> str:
    a, b, at = row["a"], row["b"], row["budget"]
    value, low, high = row["difference"], row["low"], row["high"]
    if value < 0:
        a, b, value, low, high = b, a, -value, -high, -low
    sizes = f"{percent(value)} points" + ("" if low != low else f" ({percent(low)} to {percent(high)})")
    if value != value:
        return f"At {at}, {a} and {b} cannot be compared."
    if value == 0 and low != low:
        return f"At {at}, {a} and {b} keep the same, but there are too few images for an interval."
    if row["verdict"].sign:
        return f"At {at}, {a} keeps {sizes} more than {b}."
    if low != low:
        return f"At {at}, {a} keeps {sizes} more than {b} here, but there are too few images for an interval."
    return f"At {at}, {a} and {b} cannot be told apart: they differ by {sizes}."


def _costs(a: Cell | None, b: Cell | None) -> str:
    known = [cell for cell in (a, b) if cell and {"flops", "cache"} <= cell.costs.keys()]
    parts = [
        f"{cell.strategy} computes {number(cell.costs['flops'][0], 0)} % of the FLOPs and stores "
        f"{number(cell.costs['cache'][0], 0)} % of the KV cache"
        for cell in known
    ]
    return f"{'; '.join(parts)}." if parts else ""


def _common(row: Mapping[Any, Any] | None) -> str:
    if row is None:
        return ""
    return (
        f"Of the tokens that either keeps to the end, {percent(row['overlap'], 0)} % are kept by both "
        f"(by chance: {percent(row['chance'], 0)} %)."
    )
