"""Published retention beside the measured one.

A paper and a run answer the same questions about the same images, so that the luck of drawing images is common to both
and explains no difference. What is left is numerical: other kernels, batches and hardware flip some answers. How many,
an A/A check measures, and that is the yardstick where there is one. Where there is none, the interval for new images
has to do, which is wider.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite, isnan, sqrt
from typing import TYPE_CHECKING, Any

from tokenbench.contract.budget import Budget
from tokenbench.contract.cells import VANILLA, plain_name
from tokenbench.tables import Tone
from tokenbench_reports.claims.consistency import SAME_SHARE, does_not_follow
from tokenbench_reports.claims.printed import MEAN_RETENTION, Claim, Printed, group_rows, ledger

if TYPE_CHECKING:
    import pandas as pd

    from tokenbench.comparison import Comparison

__all__ = [
    "NARROW",
    "NEW_IMAGES",
    "OTHER_QUESTIONS",
    "SAME_IMAGES",
    "Reproduction",
    "compare_claims",
    "ledger_name",
    "method_of",
    "shares",
    "short_name",
]

NARROW = 0.02
"""Half width, as a fraction of vanilla's score, up to which limits can say "reproduced"."""
COLUMNS = [
    "source", "model", "strategy", "budget", "task", "claimed", "measured", "low", "high", "yardstick", "verdict", "why",
]  # fmt: skip
OTHER_QUESTIONS = {
    "vqav2": "papers report VQAv2 on test-dev, whose answers are not public; vqav2_val has other questions"
}
"""Tasks of the ledger whose questions no task here has, with the reason."""
SAME_IMAGES, NEW_IMAGES = "same images", "new images"


class Reproduction(StrEnum):
    """Whether a published number was met; the value is the word for a reader."""

    REPRODUCED = "reproduced"
    UNDECIDED = "undecided"
    NOT_REPRODUCED = "not reproduced"
    NOT_COMPARABLE = "not comparable"

    @property
    def tone(self) -> Tone:
        """Whether it speaks for the published number, against it, or leaves the question open."""
        return "good" if self is self.REPRODUCED else "bad" if self is self.NOT_REPRODUCED else "neutral"

    @property
    def symbol(self) -> str:
        """A glyph that says the tone without colour."""
        return {"good": "✓", "bad": "✗"}.get(self.tone, "·")


@dataclass(frozen=True)
class Measured:
    """A measured retention with the limits that a claim is held against, all as fractions."""

    value: float
    """The retention."""
    low: float
    """The lower limit."""
    high: float
    """The upper limit."""
    yardstick: str
    """What the limits are for: `same images` or `new images`."""


def compare_claims(
    comparison: Comparison, about: Mapping[str, Any], claims: Sequence[Claim] | None = None
) -> pd.DataFrame:
    """Put published retention beside the measured one, for the models, strategies and budgets of a comparison.

    Args:
        comparison: What was measured. Of several runs together, ``clse#A`` and ``clse#B`` both stand for clse.
        about: The run's manifest. Its ``limit``, and how budgets were matched, decide what is comparable.
        claims: The published numbers; by default the whole ledger.

    Returns:
        Columns source, model, strategy, budget (of the run), task, claimed, measured, low, high (retention, fractions),
        yardstick (what the limits are for: ``same images`` or ``new images``), verdict and why. The verdict is the word
        of a ``Reproduction``: ``reproduced`` (inside the limits, which are no wider than ± 2 points), ``undecided``
        (inside wider ones), ``not reproduced`` (outside, rounding allowed for) or ``not comparable``.
    """
    import pandas as pd

    rows = [row for row in group_rows(ledger() if claims is None else claims) if row.method != VANILLA]
    records = [one for model in comparison.models for one in _model(comparison, about.get("spec") or {}, model, rows)]
    return pd.DataFrame(records, columns=COLUMNS)


def _model(
    comparison: Comparison, spec: Mapping[str, Any], model: str, rows: Sequence[Printed]
) -> Iterator[tuple[Any, ...]]:
    summary = comparison.summary[comparison.summary["model"] == model]
    own = shares(summary)
    cells = {(cell["strategy"], cell["budget"], cell["task"]): cell for cell in summary.to_dict("records")}
    flips = _flips(comparison, model)
    measured_tasks = {ledger_name(task, rows): task for task in comparison.tasks}
    for row in rows:
        if row.backbone != short_name(model):
            continue
        for strategy, budget in dict.fromkeys(key[:2] for key in cells):
            if method_of(strategy) != row.method or not _is_at(budget, row, own.get(budget, float("inf"))):
                continue
            for task, claimed, digits in _claimed_retention(row):
                there = "mean" if task == MEAN_RETENTION else measured_tasks.get(task)
                cell = cells.get((strategy, budget, there))
                if cell is not None and isfinite(cell["retention"]):
                    measured = _measure(cell, flips)
                    why = _not_comparable(row, task, spec, set(measured_tasks))
                    word, reason = (Reproduction.NOT_COMPARABLE, why) if why else verdict(claimed, digits, measured)
                    limits = measured.value, measured.low, measured.high, measured.yardstick
                    said = "; ".join(filter(None, (reason, "" if why else row.note)))
                    yield row.source, model, strategy, budget, task, claimed, *limits, word, said


def _is_at(budget: str, row: Printed, share: float) -> bool:
    """Whether a run's budget is that of a printed row: by its share of the tokens or, where their number is unknown, by its name."""
    return budget == row.budget if isnan(share) else abs(share - row.share) < SAME_SHARE


def shares(summary: pd.DataFrame) -> dict[str, float]:
    """By budget of a model's cells, its share of the visual tokens; without budgets that are none."""
    from tokenbench.comparison.panel import budget_size

    tokens = float(summary["visual_tokens"].max())
    budgets = [Budget.read(name) for name in summary["budget"].unique() if budget_size(name) < float("inf")]
    return {
        str(budget): budget.order / tokens if budget.tokens is not None else float(budget.keep) for budget in budgets
    }


def verdict(claimed: float, digits: float, measured: Measured) -> tuple[Reproduction, str]:
    """The verdict, read off the limits that stand beside it, and what there is to say about it."""
    if not (isfinite(measured.low) and isfinite(measured.high)):
        return Reproduction.UNDECIDED, "too few images for limits"
    if not measured.low - digits <= claimed <= measured.high + digits:
        return Reproduction.NOT_REPRODUCED, ""
    half = (measured.high - measured.low) / 2
    if half > NARROW:
        return Reproduction.UNDECIDED, f"limits of ± {100 * half:.1f} points; ± {100 * NARROW:g} would tell"
    return Reproduction.REPRODUCED, ""


def _measure(cell: Mapping[Any, Any], flips: Mapping[str, float] | None) -> Measured:
    """A cell's retention with the limits for the same images, where vanilla ran twice, or else for new ones.

    If each of two runs flips scores at a rate that makes ``v`` the variance of the difference of their means,
    retention, a ratio r of two of them to vanilla's score m, differs between the runs with variance ``v (1 + r^2) /
    m^2``.
    """
    value = float(cell["retention"])
    if flips is None:
        return Measured(value, float(cell["retention_low"]), float(cell["retention_high"]), NEW_IMAGES)
    half = 1.96 * flips[cell["task"]] * sqrt(1 + value**2)
    return Measured(value, value - half, value + half, SAME_IMAGES)


def _flips(comparison: Comparison, model: str) -> dict[str, float] | None:
    """Measure how much vanilla's score differs between two runs on the same images.

    Returns:
        The standard deviation of the difference over the score, by task and over all; None if vanilla was not run
        twice.
    """
    from tokenbench.comparison.noise import Disagreement, flips

    counted = flips(comparison.pairs, model)
    if counted is None:
        return None
    summary = comparison.summary
    vanilla = summary[(summary["model"] == model) & (summary["strategy"] == VANILLA)].set_index("task")
    deviations = {}
    for task in vanilla.index.drop("mean"):
        score = float(vanilla.loc[task, "score"])
        sd = sqrt(counted.get(task, Disagreement()).variance) / float(vanilla.loc[task, "n"])
        deviations[task] = sd / score if score > 0 else float("nan")
    return {**deviations, "mean": sqrt(sum(sd**2 for sd in deviations.values())) / len(deviations)}


def _claimed_retention(row: Printed) -> Iterator[tuple[str, float, float]]:
    """(task, retention, how far rounding in print may have moved it)."""
    for task, value in row.cells.items():
        digit = 0.5 if row.vanilla[task] > 100 else 0.05
        yield task, value / 100, digit / row.vanilla[task] * (1 + value / 100)
    if MEAN_RETENTION in row.claims:
        yield MEAN_RETENTION, row.claims[MEAN_RETENTION].value / 100, 0.0005


def _not_comparable(row: Printed, task: str, spec: Mapping[str, Any], measured: set[str]) -> str:
    """Why a claim cannot be held against this run; empty if it can."""
    if spec.get("limit"):
        return f"only {spec['limit']} samples a task were run"
    if spec.get("match", "nominal") != "nominal":
        return f"budgets are matched by {spec['match']} here"
    if spec.get("turns", 1) > 1:
        return "later questions are asked of the tokens that another question left here"
    if not row.put_right:
        return "the printed row is shifted"
    if other := [
        OTHER_QUESTIONS[name] for name in (row.cells if task == MEAN_RETENTION else [task]) if name in OTHER_QUESTIONS
    ]:
        return other[0]
    if task != MEAN_RETENTION:
        return ""
    if row.shifted:
        return "the printed mean holds numbers of other columns"
    if does_not_follow(row):
        return "the printed mean does not follow from its cells"
    return "" if set(row.cells) == measured else "a mean over other tasks"


def ledger_name(task: str, rows: Sequence[Printed]) -> str:
    """The ledger's name of a task of a run: ``textvqa`` for ``textvqa_val``."""
    names = {name for row in rows for name in row.claims}
    return max((name for name in names if task == name or task.startswith(f"{name}_")), key=len, default=task)


def method_of(strategy: str) -> str:
    """``clse`` for ``clse``, and for ``clse#A`` and ``clse#B`` of several runs in one."""
    return plain_name(strategy)


def short_name(model: str) -> str:
    """``llava-1.5-7b`` for ``llava-hf/llava-1.5-7b-hf@main`` and for ``liuhaotian/llava-v1.5-7b``."""
    name = model.partition("@")[0].rstrip("/").rpartition("/")[2].lower()
    return re.sub(r"^llava-v(?=\d)", "llava-", name).removesuffix("-hf").removesuffix("-instruct")
