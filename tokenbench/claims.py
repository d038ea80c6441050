"""The ledger of published numbers: what papers say, whether it adds up, and how it stands beside what was measured.

``claims.csv`` holds one number a row, as printed, with its source. Retention is compared rather than scores: it does not depend on
a benchmark's scale, and a paper's own vanilla is part of its claim.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from tokenbench.comparison import Comparison

__all__ = ["Claim", "Printed", "audit", "beside", "ledger", "printed_rows"]

MEAN_RETENTION = "mean_retention"
ROUNDING = 0.15
"""Points by which a printed mean may miss that of its rounded cells."""
DISAGREE = 5.0
"""Points of retention by which two sources differ before the audit says so."""
SAME_SHARE = 0.005


@dataclass(frozen=True)
class Claim:
    """One number as it was printed; ``note`` says what is wrong or unclear about it."""

    source: str
    method: str
    backbone: str
    budget: str
    task: str
    value: float
    unit: str
    note: str


@dataclass(frozen=True)
class Printed:
    """One row of a table in a paper.

    Attributes:
        claims: by task, in the order printed.
        vanilla: the source's own vanilla scores by task; empty if it prints none.
        whole: its vanilla's budget, of which ``budget`` is a part; NaN if it prints none.
    """

    source: str
    method: str
    backbone: str
    budget: str
    claims: Mapping[str, Claim]
    vanilla: Mapping[str, float]
    whole: float

    @property
    def cells(self) -> dict[str, float]:
        """Retention by task, in per cent, where the source has a vanilla score."""
        scores = (claim for claim in self.claims.values() if claim.unit == "score" and claim.task in self.vanilla)
        return {claim.task: 100 * claim.value / self.vanilla[claim.task] for claim in scores}

    @property
    def share(self) -> float:
        """The budget as a share of the visual tokens; NaN if it is none."""
        try:
            return float(self.budget) / self.whole
        except ValueError:
            return float("nan")

    @property
    def note(self) -> str:
        """What the ledger says about the row."""
        return "; ".join(dict.fromkeys(claim.note for claim in self.claims.values() if claim.note))

    def __str__(self) -> str:
        values = ", ".join(f"{task} {claim.value:g}" for task, claim in self.claims.items())
        return f"{self.source}: {self.method} on {self.backbone} at {self.budget}: {values}"


@cache
def ledger() -> tuple[Claim, ...]:
    """All published numbers, in the order of the ledger."""
    with Path(__file__).with_suffix(".csv").open(newline="", encoding="utf-8") as file:
        return tuple(Claim(**{**row, "value": float(row["value"])}) for row in csv.DictReader(file))  # type: ignore[arg-type]


def printed_rows(claims: Sequence[Claim]) -> list[Printed]:
    """The claims as rows of the papers' tables."""
    groups: dict[tuple[str, str, str, str], dict[str, Claim]] = {}
    for claim in claims:
        groups.setdefault((claim.source, claim.method, claim.backbone, claim.budget), {})[claim.task] = claim
    vanilla = {
        (source, backbone): (row, budget)
        for (source, method, backbone, budget), row in groups.items()
        if method == "vanilla"
    }
    found = []
    for key, row in groups.items():
        reference, whole = vanilla.get((key[0], key[2]), ({}, "nan"))
        scores = {task: claim.value for task, claim in reference.items() if claim.unit == "score"}
        found.append(Printed(*key, row, scores, float(whole)))
    return found


def audit(rows: Sequence[Printed]) -> Iterator[str]:
    """What does not add up: means that do not follow from their cells, notes of the ledger, sources that disagree."""
    for row in rows:
        name = f"{row.source}: {row.method} on {row.backbone} at {row.budget}"
        mean = row.claims.get(MEAN_RETENTION)
        if mean and row.cells and row.method != "vanilla":
            follows = sum(row.cells.values()) / len(row.cells)
            if abs(follows - mean.value) > ROUNDING:
                yield f"{name}: printed mean {mean.value:g}, but its {len(row.cells)} cells have {follows:.1f}"
        if "shifted" in row.note:
            yield f"{name}: {row.note}"
    for at, first in enumerate(rows):
        for second in rows[at + 1 :]:
            yield from _disagreement(first, second)


def _disagreement(first: Printed, second: Printed) -> Iterator[str]:
    same = (first.method, first.backbone) == (second.method, second.backbone) and abs(
        first.share - second.share
    ) < SAME_SHARE
    if not same or first.source == second.source or first.method == "vanilla":
        return
    apart = {task: (value, second.cells[task]) for task, value in first.cells.items() if task in second.cells}
    apart = {task: pair for task, pair in apart.items() if abs(pair[0] - pair[1]) > DISAGREE}
    if apart:
        listed = ", ".join(f"{task} {a:.1f} and {b:.1f}" for task, (a, b) in apart.items())
        yield f"{first.method} on {first.backbone} at {first.budget}: retention differs between {first.source} and {second.source}: {listed}"


def beside(comparison: Comparison, about: Mapping[str, Any], claims: Sequence[Claim] | None = None) -> pd.DataFrame:
    """Published retention beside the measured one, for the models, strategies and budgets of a comparison.

    Columns: source, model, strategy, budget (of the run), task, claimed, measured, low, high (retention, fractions), verdict
    (``reproduced``: inside the measured 95 % interval, rounding allowed for; ``not reproduced``; ``not comparable``) and why.

    Args:
        comparison: what was measured.
        about: the run's manifest: its ``limit`` and how budgets were matched decide what is comparable.
        claims: the ledger, unless said otherwise.
    """
    import pandas as pd

    rows = [row for row in printed_rows(ledger() if claims is None else claims) if row.method != "vanilla"]
    found = [one for model in comparison.models for one in _model(comparison, about.get("spec") or {}, model, rows)]
    columns = ["source", "model", "strategy", "budget", "task", "claimed", "measured", "low", "high", "verdict", "why"]
    return pd.DataFrame(found, columns=columns)


def _model(
    comparison: Comparison, spec: Mapping[str, Any], model: str, rows: Sequence[Printed]
) -> Iterator[tuple[Any, ...]]:
    from tokenbench.comparison.panel import budget_size

    summary = comparison.summary[comparison.summary["model"] == model]
    tokens = float(summary["visual_tokens"].max())
    cells = {(cell["strategy"], cell["budget"], cell["task"]): cell for cell in summary.to_dict("records")}
    own = {
        name: (size if size < 1 else size / tokens)
        for name in {key[1] for key in cells}
        if (size := budget_size(name)) < float("inf")
    }
    measured_tasks = {_ledger_name(task, rows): task for task in comparison.tasks}
    for row in rows:
        if row.backbone != short_name(model):
            continue
        for budget in (name for name, share in own.items() if abs(share - row.share) < SAME_SHARE):
            for task, claimed, digits in _claimed(row):
                there = "mean" if task == MEAN_RETENTION else measured_tasks.get(task)
                cell = cells.get((row.method, budget, there))
                if cell is not None and cell["retention"] == cell["retention"]:
                    limits = [cell[f"retention{end}"] for end in ("", "_low", "_high")]
                    why = _not_comparable(row, task, spec, set(measured_tasks))
                    inside = limits[1] - digits <= claimed <= limits[2] + digits
                    verdict = "not comparable" if why else "reproduced" if inside else "not reproduced"
                    yield row.source, model, row.method, budget, task, claimed, *limits, verdict, why or row.note


def _claimed(row: Printed) -> Iterator[tuple[str, float, float]]:
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
    if "shifted" in row.note:
        return "the printed row is shifted"
    if task == MEAN_RETENTION and set(row.cells) != measured:
        return "a mean over other tasks"
    return ""


def _ledger_name(task: str, rows: Sequence[Printed]) -> str:
    """The ledger's name of a task of a run: ``textvqa`` for ``textvqa_val``."""
    names = {name for row in rows for name in row.claims}
    return max((name for name in names if task == name or task.startswith(f"{name}_")), key=len, default=task)


def short_name(model: str) -> str:
    """``llava-1.5-7b`` for ``llava-hf/llava-1.5-7b-hf@main``."""
    name = model.partition("@")[0].rstrip("/").rpartition("/")[2].lower()
    return name.removesuffix("-hf").removesuffix("-instruct")
