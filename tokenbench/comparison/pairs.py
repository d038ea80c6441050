"""Rows of the pairs table: every comparison with its interval, p and verdict."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from tokenbench.comparison import verdicts
from tokenbench.comparison.measures import Measures, noise_of
from tokenbench.comparison.summary import MEAN, NAN, Row
from tokenbench.statistics import Estimates, Family, detectable, family, pair
from tokenbench.statistics.clusters import Floats
from tokenbench.statistics.quantiles import false_discovery, student_critical

PAIR_COLUMNS = [
    "model", "budget", "task", "a", "b", "difference", "low", "high", "p", "p_unadjusted", "verdict", "family",
    "mde", "discordant", "a_better", "b_better", "p_noninferior", "samples_needed", "cost_ratio", "tasks_low", "tasks_high",
]  # fmt: skip
NEAR_ALPHA = 0.007
Pairing = tuple[int, int]


class Settings(NamedTuple):
    """How the families are tested; see ``compare``."""

    margin: float
    resamples: int
    seed: int


def pair_rows(measures: Measures, settings: Settings) -> list[Row]:
    """All comparisons of one model: F1, F2, then F3; without F3 for several models together."""
    cells = measures.panel.cells
    control = [(at, 0) for at in range(1, len(cells))]
    peers = [(a, b) for a, b in combinations(range(1, len(cells)), 2) if cells[a].budget == cells[b].budget]
    return [
        *_headline(measures, control, "F1", settings),
        *_headline(measures, peers, "F2", settings),
        *(_exploratory(measures, control + peers, settings) if measures.panel.models == 1 else []),
    ]


def _headline(measures: Measures, pairings: list[Pairing], name: str, settings: Settings) -> list[Row]:
    """One family on retention over all tasks."""
    rows = [
        _described(measures, pairing, MEAN, name, measures.safe) | _other_tasks(measures, pairing)
        for pairing in pairings
    ]
    if not rows or measures.retention is None or not np.isfinite(measures.retention.se[1:]).all():
        word = verdicts.NOT_DECIDED if name == "F1" else verdicts.NOT_DISTINGUISHABLE
        return [row | {"verdict": word} for row in rows]
    estimates = measures.retention.contrast(_contrasts(pairings, len(measures.panel.cells)))
    floor = np.array([measures.floor(*pairing, measures.safe) for pairing in pairings])
    tested = _family(estimates, floor, measures.alpha, settings)
    rows = [row | _tested(estimates, tested, floor, at) for at, row in enumerate(rows)]
    if name == "F2":
        return [_fractions(row | {"verdict": _direction(row, measures.alpha)}) for row in rows]
    lossless = _family(estimates, floor, measures.alpha, settings, null=-settings.margin, two_sided=False).p
    return [
        _fractions(row | _against_vanilla(row, float(p), measures, settings.margin))
        for row, p in zip(rows, lossless, strict=True)
    ]


def _other_tasks(measures: Measures, pairing: Pairing) -> Row:
    """Limits for the difference on other tasks like these: Student's, from the spread between the tasks alone.

    None for several models together: a task on two models is not two tasks.
    """
    a, b = pairing
    found = [task.retention for task in measures.tasks if task.retention is not None]
    values = np.array([estimates.value[a] - estimates.value[b] for estimates in found]) / 100
    if len(values) < 2 or measures.panel.models > 1:
        return {"tasks_low": NAN, "tasks_high": NAN}
    half = float(student_critical(measures.alpha / 2, len(values) - 1)) * values.std(ddof=1) / np.sqrt(len(values))
    return {"tasks_low": float(values.mean() - half), "tasks_high": float(values.mean() + half)}


def _fractions(row: Row) -> Row:
    """Points of retention, which the families and the margin are stated in, as the fractions that all tables hold."""
    return row | {name: row[name] / 100 for name in ("difference", "low", "high", "mde")}


def _family(
    estimates: Estimates,
    floor: Floats,
    alpha: float,
    settings: Settings,
    *,
    null: float = 0.0,
    two_sided: bool = True,
) -> Family:
    """Test a family; Monte-Carlo error must not decide a verdict, so what is close to alpha is tested more finely."""
    level = alpha if two_sided else alpha / 2
    for resamples in (settings.resamples, 10 * (settings.resamples + 1) - 1):
        tested = family(
            estimates,
            null=null,
            two_sided=two_sided,
            floor=floor,
            resamples=resamples,
            seed=settings.seed,
            alpha=alpha,
        )
        if tested.exact or (np.abs(tested.p - level) > NEAR_ALPHA * level / 0.05).all():
            break
    return tested


def _tested(estimates: Estimates, tested: Family, floor: Floats, at: int) -> Row:
    se = np.sqrt(estimates.se[at] ** 2 + floor[at])
    return {
        "difference": float(estimates.value[at]),
        "low": float(tested.low[at]),
        "high": float(tested.high[at]),
        "p": float(tested.p[at]),
        "p_unadjusted": float(tested.p_unadjusted[at]),
        "mde": float(detectable(se, tested.critical[at], estimates.df[at])),
    }


def _against_vanilla(row: Row, p_noninferior: float, measures: Measures, margin: float) -> Row:
    not_inferior = p_noninferior <= measures.alpha / 2
    word = verdicts.against_vanilla(_direction(row, measures.alpha), row["low"], row["high"], not_inferior, margin)
    half = (row["high"] - row["low"]) / 2
    # Intervals narrow with the root of the sample size: a rough number, to plan by.
    needed = measures.panel.samples * (half / margin) ** 2 if word == verdicts.NOT_DECIDED and margin > 0 else NAN
    return {"verdict": word, "p_noninferior": p_noninferior, "samples_needed": needed}


def _exploratory(measures: Measures, pairings: list[Pairing], settings: Settings) -> list[Row]:
    """Single tasks: exact sign flips, the false discovery rate controlled over all of them."""
    rows = [_single(measures, pairing, at, settings) for pairing in pairings for at in range(len(measures.tasks))]
    if not rows:
        return []
    adjusted = false_discovery([row["p_unadjusted"] for row in rows])
    rows = [row | {"p": float(p)} for row, p in zip(rows, adjusted, strict=True)]
    return [row | {"verdict": _direction(row, measures.alpha)} for row in rows]


def _single(measures: Measures, pairing: Pairing, position: int, settings: Settings) -> Row:
    task, scores = measures.panel.tasks[position], measures.panel.averages[position]
    score = measures.tasks[position].score
    noise, noise_df = 0.0, np.inf
    if len(score.noise):
        noise, noise_df = noise_of(score.contrast(_contrasts([pairing], scores.shape[1])), 0)
    a, b = (task.weights * scores[:, at] for at in pairing)
    found = pair(
        a,
        b,
        task.codes,
        noise=noise,
        noise_df=noise_df,
        resamples=settings.resamples,
        seed=settings.seed,
        alpha=measures.alpha,
    )
    return {
        **_described(measures, pairing, task.name, "F3", [position]),
        "difference": found.difference,
        "low": found.interval.low,
        "high": found.interval.high,
        "p_unadjusted": found.p,
        "mde": found.mde,
    }


def _direction(row: Row, alpha: float) -> str:
    return verdicts.direction(row["difference"], row["p"], alpha)


def _contrasts(pairings: list[Pairing], cells: int) -> Floats:
    """``[K, C]`` matrix of differences a - b."""
    matrix = np.zeros((cells, len(pairings)))
    for at, (a, b) in enumerate(pairings):
        matrix[a, at], matrix[b, at] = 1.0, -1.0
    return matrix


def _described(measures: Measures, pairing: Pairing, task: str, name: str, positions: Sequence[int]) -> Row:
    """Who is compared on what, and what differs, before any test."""
    a, b = (measures.panel.cells[at] for at in pairing)
    tokens = measures.panel.cost["realised_tokens"]
    cost_a, cost_b = (float(tokens.loc[cell].mean() if task == MEAN else tokens.loc[(*cell, task)]) for cell in (a, b))
    differences = measures.differences(*pairing, positions)
    return {
        **{"model": measures.panel.model, "budget": a.budget, "task": task},
        **{"a": a.strategy, "b": b.strategy, "family": name},
        "discordant": measures.discordant(*pairing, positions),
        "a_better": int((differences > 0).sum()),
        "b_better": int((differences < 0).sum()),
        "cost_ratio": cost_a / cost_b if cost_b > 0 else NAN,
    }
