"""Rows of the pairs table: every comparison with its interval, p and verdict."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tokenbench.comparison.families import Families, Pair, make_families
from tokenbench.comparison.measures import Measures
from tokenbench.comparison.panel import Treatment
from tokenbench.comparison.planning import samples_needed
from tokenbench.comparison.single import TaskTests, task_tests
from tokenbench.comparison.verdicts import Kind, Verdict, judge_against_vanilla, judge_pair
from tokenbench.contract.cells import VANILLA
from tokenbench.statistics import Family, Look, Pairing, family
from tokenbench.statistics.clusters import Floats
from tokenbench.statistics.quantiles import false_discovery, student_critical
from tokenbench.statistics.spending import Spending, spend_all

MEAN = "mean"
NAN = float("nan")
Row = dict[str, Any]

PAIR_COLUMNS = [
    "model", "budget", "task", "a", "b", "difference", "low", "high", "p", "p_unadjusted", "verdict", "family",
    "mde", "smallest_margin", "discordant", "a_better", "b_better", "samples_needed", "missing", "if_wrong", "if_vanilla",
    "cost_ratio", "tasks_low", "tasks_high", "look",
]  # fmt: skip


class Settings(NamedTuple):
    """How the families are tested; see ``compare``."""

    margin: float
    """Loss in points of accuracy kept that is of no importance."""
    resamples: int
    """Random sign vectors per family."""
    seed: int
    """Seed of the random signs."""
    spending: Spending = spend_all
    """How the error is spent over the looks."""


class ModelLook(NamedTuple):
    """What one look saw of a model."""

    measures: Measures
    """What is estimated for the cells that were still running."""
    number: int = 0
    """The number of the look, from 0."""
    share: float = 1.0
    """How much of the images that may be seen at most the look has seen."""


def pair_rows(views: Sequence[ModelLook], settings: Settings) -> list[Row]:
    """Compute all comparisons of one model: F1, F2, then F3; without F3 for several models together.

    Args:
        views: All looks so far, the present one last. A cell that stopped is compared on the images of its last look.
        settings: How the families are tested.
    """
    families = families_of(views)
    rows = [*_headline(views, families.control, "F1", settings), *_headline(views, families.peers, "F2", settings)]
    if views[-1].measures.panel.models == 1:
        rows += _exploratory(views, families.control + families.peers, settings)
    return rows


def families_of(views: Sequence[ModelLook]) -> Families:
    """Pair the cells that any of the looks saw."""
    cells = list(dict.fromkeys(cell for view in views for cell in view.measures.panel.cells))
    vanilla, *others = sorted(cells, key=lambda cell: cell.strategy != VANILLA)
    return make_families(vanilla, others)


def last_view(views: Sequence[ModelLook], pair: Sequence[Treatment]) -> ModelLook:
    """The latest look that saw all of these cells."""
    return next(view for view in reversed(views) if all(cell in view.measures.panel.places for cell in pair))


def _by_last_view(
    views: Sequence[ModelLook], pairs: Sequence[Pair]
) -> Iterator[tuple[ModelLook, list[int], list[Pairing]]]:
    """Every look with the pairs whose last one it is: their positions among all, and those of their cells there."""
    last = [last_view(views, pair) for pair in pairs]
    for view in views:
        if own := [number for number, one in enumerate(last) if one is view]:
            yield view, own, _places(view, [pairs[number] for number in own])[1]


def _places(view: ModelLook, pairs: Sequence[Pair]) -> tuple[list[int], list[Pairing]]:
    """Which pairs a look saw, and the positions of their cells there."""
    at = view.measures.panel.places
    seen = [number for number, pair in enumerate(pairs) if pair.a in at and pair.b in at]
    return seen, [(at[pairs[number].a], at[pairs[number].b]) for number in seen]


def _headline(views: Sequence[ModelLook], pairs: list[Pair], name: str, settings: Settings) -> list[Row]:
    """One family on retention over all tasks."""
    if not pairs:
        return []
    described: dict[int, Row] = {}
    for view, own, places in _by_last_view(views, pairs):
        found = _describe(view, places, MEAN, name, range(len(view.measures.tasks)))
        others = _other_tasks(view.measures, places)
        described |= {at: row | limits for at, row, limits in zip(own, found, others, strict=True)}
    rows = [described[at] for at in range(len(pairs))]
    tested = _family(views, pairs, settings)
    numbers = [_test_columns(tested, at) for at in range(len(pairs))] if tested else [dict[str, float]()] * len(pairs)
    if views[-1].measures.scale is None:
        return [row | {"verdict": Verdict(Kind.UNDEFINED)} for row in rows]
    judged = [_judge(row, found, name, settings.margin) for row, found in zip(rows, numbers, strict=True)]
    if tested and settings.margin > 0:
        needed = [
            _estimate_needed(views, pair, row, float(c), settings)
            for pair, row, c in zip(pairs, judged, tested.critical, strict=True)
        ]
        judged = [row | {"samples_needed": number} for row, number in zip(judged, needed, strict=True)]
    return [_fractions(row) for row in judged]


def _estimate_needed(views: Sequence[ModelLook], pair: Pair, row: Row, critical: float, settings: Settings) -> float:
    """Samples that would decide what is open, for a strategy without any loss; NaN for what is decided."""
    if row["verdict"].kind is not Kind.NOT_DECIDED:
        return NAN
    panel = last_view(views, pair).measures.panel
    a, b = (panel.places[cell] for cell in pair)
    return float(samples_needed(panel, a, b, settings.margin, critical))


def _family(views: Sequence[ModelLook], pairs: Sequence[Pair], settings: Settings) -> Family | None:
    """All looks at the same tasks on the same scale; None where no retention or no variance is known."""
    last = views[-1].measures
    if last.scale is None or last.single:
        return None
    tasks = [task.name for task in last.tasks]
    looks = []
    for view in views:
        seen, places = _places(view, pairs)
        if seen and [task.name for task in view.measures.tasks] == tasks and not view.measures.single:
            looks.append(Look(view.measures.headline(places, last.scale), view.share, np.array(seen), view.number))
    if not looks:
        return None
    return family(
        looks,
        settings.spending,
        keys=last.panel.keys,
        count=len(pairs),
        resamples=settings.resamples,
        seed=settings.seed,
        alpha=last.alpha,
    )


def _test_columns(tested: Family, at: int) -> Row:
    names = ("low", "high", "p", "p_unadjusted", "mde", "smallest_margin")
    return {"difference": float(tested.value[at])} | {name: float(getattr(tested, name)[at]) for name in names}


def _judge(row: Row, found: Row, name: str, margin: float) -> Row:
    low, high = found.get("low", NAN), found.get("high", NAN)
    verdict = judge_against_vanilla(low, high, margin) if name == "F1" else judge_pair(low, high)
    return row | found | {"verdict": verdict}


def _fractions(row: Row) -> Row:
    """Points of accuracy kept, which the families and the margin are stated in, as the fractions that all tables hold."""
    names = ("difference", "low", "high", "mde", "smallest_margin")
    return row | {name: row[name] / 100 for name in names if name in row}


def _other_tasks(measures: Measures, places: Sequence[Pairing]) -> list[Row]:
    """Limits for the differences on other tasks like these: Student's, from the spread between the tasks alone.

    None for several models together (a task on two models is not two tasks), and none where vanilla is near zero on a
    task.
    """
    if len(measures.tasks) < 2 or measures.panel.models > 1 or measures.near_zero:
        return [{"tasks_low": NAN, "tasks_high": NAN}] * len(places)
    a, b = np.array(places).T
    scores = np.array([task.scores.value for task in measures.tasks])
    values = np.ascontiguousarray(((scores[:, a] - scores[:, b]) / scores[:, :1]).T)  # a row a pair
    critical, mean = float(student_critical(measures.alpha / 2, len(scores) - 1)), values.mean(axis=1)
    half = critical * values.std(axis=1, ddof=1) / np.sqrt(len(scores))
    limits = np.stack([mean - half, mean + half], axis=1).tolist()
    return [{"tasks_low": low, "tasks_high": high} for low, high in limits]


def _exploratory(views: Sequence[ModelLook], pairs: list[Pair], settings: Settings) -> list[Row]:
    """Single tasks: exact sign flips, the false discovery rate controlled over all of them.

    Intervals have the level at which the rejected ones were rejected (Benjamini and Yekutieli 2005), so that an
    interval excludes 0 exactly where a difference is found. Of several looks the last one counts, with the error that
    is left to it.
    """
    tests = list(_single_tests(views, pairs, settings))
    if not tests:
        return []
    last = views[-1]
    level = settings.spending(last.number, last.share, last.measures.alpha)
    if last.number:
        level -= settings.spending(last.number - 1, views[-2].share if len(views) > 1 else 0.0, last.measures.alpha)
    adjusted = false_discovery(np.concatenate([tests_.p for _, tests_ in tests]))
    found = int((adjusted <= level).sum())
    each = max(1, found) * level / len(adjusted)
    # At most alpha exactly where a difference is found, as in the families.
    alpha = last.measures.alpha
    scaled = adjusted * (alpha / max(level, np.finfo(float).tiny))  # after the planned looks no error is left
    p = np.where(adjusted <= level, np.minimum(scaled, alpha), np.clip(scaled, np.nextafter(alpha, 1.0), 1.0))
    rows: list[Row] = []
    start = 0
    for view, tests_ in tests:
        end = start + len(tests_.p)
        rows += _single_rows(view, tests_, p[start:end], each)
        start = end
    return rows


def _single_tests(
    views: Sequence[ModelLook], pairs: Sequence[Pair], settings: Settings
) -> Iterator[tuple[ModelLook, TaskTests]]:
    """The comparisons at their last look, look by look and task by task."""
    for view, _, places in _by_last_view(views, pairs):
        for position in range(len(view.measures.tasks)):
            yield view, task_tests(view.measures, position, places, settings.resamples, settings.seed)


def _single_rows(view: ModelLook, tests: TaskTests, p: Floats, level: float) -> Iterator[Row]:
    measures = view.measures
    task = measures.tasks[tests.position].name
    low, high = tests.limits(tests.scores, level)
    numbers = (tests.scores.value, low, high, p, tests.p, tests.detectable(measures.alpha))
    names = ("difference", "low", "high", "p", "p_unadjusted", "mde")
    rows = _describe(view, tests.pairs, task, "F3", [tests.position])
    for row, found in zip(rows, np.stack(numbers, axis=1).tolist(), strict=True):
        yield {**row, **dict(zip(names, found, strict=True)), "verdict": judge_pair(found[1], found[2])}


def _describe(
    view: ModelLook, places: Sequence[Pairing], task: str, name: str, positions: Sequence[int]
) -> Iterator[Row]:
    """Who is compared on what, and what differs, before any test."""
    panel = view.measures.panel
    tokens = [panel.tokens(cell, "" if task == MEAN else task) for cell in panel.cells]
    counts = np.stack(view.measures.differing(places, positions), axis=1).tolist()
    for (at_a, at_b), (discordant, more, less) in zip(places, counts, strict=True):
        a, b = panel.cells[at_a], panel.cells[at_b]
        yield {
            **{"model": panel.model, "budget": a.budget, "task": task},
            **{"a": a.strategy, "b": b.strategy, "family": name, "look": view.number + 1},
            **{"discordant": discordant, "a_better": more, "b_better": less},
            "cost_ratio": _ratio(tokens[at_a], tokens[at_b]),
        }


def _ratio(a: float, b: float) -> float:
    """How many times the tokens of b those of a are: NaN if either is unknown, infinite if b keeps none and a does."""
    if b == 0:
        return 1.0 if a == 0 else a * np.inf
    return a / b


def withhold_verdicts(rows: list[Row], cells: Collection[Treatment]) -> list[Row]:
    """The rows; those of cells whose seeds contradict what was declared of them have no interval and no p."""
    none = {"low": NAN, "high": NAN, "p": NAN, "verdict": Verdict(Kind.SEEDS_CONTRADICT)}
    return [
        row | none if any(Treatment(row[name], row["budget"]) in cells for name in ("a", "b")) else row for row in rows
    ]
