"""The cells of one model as the page draws them: accuracy kept, in per cent, and what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tokenbench.comparison import MEAN, Comparison
from tokenbench.comparison.panel import budget_size
from tokenbench.comparison.verdicts import Verdict
from tokenbench.comparison.wording import interval, number
from tokenbench.contract.cells import VANILLA, is_trivial
from tokenbench_reports.findings import vanilla_of

Limits = tuple[float, float, float]
"""A value with its lower and upper limit."""

MOST_METHODS = 100
"""The most methods of a budget that the page shows: nobody can tell more marks apart in a plot."""


@dataclass(frozen=True)
class Axis:
    """A cost that accuracy is drawn against."""

    key: str
    """Its name in the page."""
    label: str
    """Its name for a reader."""
    title: str
    """What the axis shows, with its unit."""
    unit: str
    """Behind every number."""
    hint: str
    """How to get it where it is missing."""


AXES = (
    Axis("tokens", "Tokens", "visual tokens, mean over the decoder’s layers", "", "No visual tokens were counted."),
    Axis("flops", "FLOPs", "FLOPs of encoder and prompt, % of the unpruned model", " %", "No FLOPs are counted for this model."),
    Axis("cache", "KV cache", "KV cache after the prompt, % of the unpruned model", " %", "No KV cache is counted for this model."),
    Axis("time", "Time", "time to the first token, % of the unpruned model", " %", "Time was not measured here: tokenbench bench -o RUN measures it."),
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A strategy at a budget."""

    strategy: str
    """The strategy."""
    budget: str
    """The budget."""
    kept: Limits
    """The accuracy kept with its simultaneous 95 % limits, in per cent; NaN where it is not known."""
    costs: Mapping[str, Limits]
    """By the key of an axis, for the costs that are known."""
    score: float
    """The score, from 0 to 1, which is shown where no accuracy kept is defined."""
    verdict: Verdict | None
    """The verdict against the unpruned model; None if there is none."""
    evidence: float
    """The evidence recall, from 0 to 1; NaN if unknown."""
    above: float
    """The skill above random tokens, from 0 to 1; NaN if unknown."""

    @property
    def floor(self) -> bool:
        """Whether it is a trivial baseline."""
        return is_trivial(self.strategy)

    @property
    def text(self) -> str:
        """All its numbers in a line."""
        value, low, high = (part / 100 for part in self.kept)
        parts = [f"{self.strategy} at {self.budget} keeps {interval(value, low, high)} %"]
        parts += [
            f"{number(self.costs[axis.key][0])}{axis.unit} {_word(axis)}" for axis in AXES if axis.key in self.costs
        ]
        return ", ".join(parts)


def _word(axis: Axis) -> str:
    return {"tokens": "visual tokens", "flops": "of the FLOPs", "cache": "of the KV cache", "time": "of the time"}[
        axis.key
    ]


def cells_of_model(comparison: Comparison, model: str, benches: Sequence[Mapping[str, Any]] = ()) -> list[Cell]:
    """The model's cells but vanilla, over all tasks, budget by budget.

    Args:
        comparison: What was measured.
        model: The model.
        benches: What ``tokenbench bench`` measured in the run.
    """
    summary = comparison.summary
    mean = summary[(summary["model"] == model) & (summary["task"] == MEAN)]
    vanilla = vanilla_of(comparison, model)
    pairs = comparison.pairs
    against = pairs[(pairs["model"] == model) & (pairs["family"] == "F1")]
    verdicts = {
        (a, b): verdict for a, b, verdict in zip(against["a"], against["budget"], against["verdict"], strict=True)
    }
    times = _times(benches, model, vanilla["realised_tokens"])
    return [
        Cell(
            str(row["strategy"]),
            str(row["budget"]),
            _per_cent(row["retention"], row["retention_low"], row["retention_high"]),
            _costs(row, vanilla, times),
            float(row["score"]),
            verdicts.get((row["strategy"], row["budget"])),
            row["evidence_recall"],
            row.get("skill_random", float("nan")),
        )
        for row in mean[mean["strategy"] != VANILLA].to_dict("records")
    ]


def budgets_of(cells: Sequence[Cell]) -> list[str]:
    """The budgets that a reader may choose among, in the order of the run; those without a size only where there is no other."""
    every = list(dict.fromkeys(cell.budget for cell in cells))
    return [budget for budget in every if budget_size(budget) < float("inf")] or every


def at_budget(cells: Sequence[Cell], budget: str) -> list[Cell]:
    """The cells of one budget and those without a budget: strategies, then floors, each the best first."""
    sized = set(budgets_of(cells))
    here = [cell for cell in cells if cell.budget == budget or cell.budget not in sized]
    return sorted(here, key=lambda cell: (cell.floor, -cell.kept[0] if cell.kept[0] == cell.kept[0] else float("inf")))


def keep_highest(cells: Sequence[Cell], most: int = MOST_METHODS) -> list[Cell]:
    """The cells that the page shows, in their order: of every budget the methods with the highest accuracy, and all floors."""
    shown = {
        (cell.strategy, cell.budget)
        for budget in budgets_of(cells)
        for cell in [one for one in at_budget(cells, budget) if not one.floor][:most]
    }
    return [cell for cell in cells if cell.floor or (cell.strategy, cell.budget) in shown]


def _per_cent(value: float, low: float, high: float) -> Limits:
    return 100 * value, 100 * low, 100 * high


def _costs(
    row: Mapping[Any, Any], vanilla: Mapping[Any, Any], times: Mapping[tuple[str, str], Limits]
) -> dict[str, Limits]:
    tokens = float(row["realised_tokens"])
    costs: dict[str, Limits] = {}
    if tokens == tokens:
        costs["tokens"] = (tokens, tokens, tokens)
    for key, column in (("flops", "flops"), ("cache", "cache_bytes")):
        whole = float(vanilla[column])
        share = 100 * float(row[column]) / whole if whole > 0 else float("nan")
        if share == share:
            costs[key] = (share, share, share)
    if (time := times.get((str(row["strategy"]), str(row["budget"])))) is not None:
        costs["time"] = time
    return costs


def _times(benches: Sequence[Mapping[str, Any]], model: str, tokens: float) -> dict[tuple[str, str], Limits]:
    """TTFT in per cent of the stock model's, by strategy and budget, at the length nearest to that of the run's prompts."""
    rows = pd.DataFrame([row for bench in benches if bench["model"] == model for row in bench["rows"]])
    if rows.empty:
        return {}
    rows = rows.assign(far=(rows["visual_tokens"] - tokens).abs()).sort_values("far", kind="stable")
    found: dict[tuple[str, str], Limits] = {}
    for row in rows[rows["strategy"] != VANILLA].to_dict("records"):
        ratio = row["ttft_ratio"]
        ends = (ratio["estimate"] if end is None else end for end in (ratio["low"], ratio["high"]))
        found.setdefault((str(row["strategy"]), str(row["budget"])), _per_cent(ratio["estimate"], *ends))
    return found
