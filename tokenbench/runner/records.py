"""What a run stores of one question under one plan."""

from __future__ import annotations

import math
from typing import Any

from tokenbench.contract.budget import count
from tokenbench.contract.lattice import Grid
from tokenbench.contract.sizes import ModelSize
from tokenbench.contract.suite import Sample, Task
from tokenbench.cost.realised import realised_bytes, realised_flops
from tokenbench.engine import Plan, RowTrace
from tokenbench.errors import StrategyError
from tokenbench.runner.evidence import evidence_tokens, recall

__all__ = ["check_pruned", "cost_record", "score_record"]


def check_pruned(plan: Plan, row: RowTrace) -> None:
    """Raise StrategyError for a strategy that keeps everything under a budget that does not."""
    wanted = count(plan.budget.keep, row.visual, row.visual)
    if plan.strategy.budgeted and wanted < row.visual and row.mean_tokens >= row.visual:
        raise StrategyError(
            f"strategy {plan.name} keeps all {row.visual} visual tokens in every layer at budget {plan.budget}"
        )


def score_record(task: Task, sample: Sample, answer: str, row: RowTrace, grid: Grid | None) -> dict[str, Any]:
    """The answer with its score, and what was kept. grid: the lattice of the first image, if it has one."""
    evidence = evidence_tokens(sample.evidence, grid) if grid else set()
    kept = row.kept
    return {
        "sample": sample.key,
        "cluster": sample.cluster,
        "unit": sample.unit or sample.key,
        "stratum": sample.stratum,
        "answer": _whole(answer),
        "target": _whole(sample.target),
        "asked": sample.digest,
        "score": float(task.score(answer, sample)),
        "kept": kept,
        "lattice": [grid.t, grid.h, grid.w, grid.num_prefix_tokens] if grid else None,
        "evidence_recall": recall(kept, evidence),
    }


def cost_record(row: RowTrace, size: ModelSize | None, number_bytes: int) -> dict[str, Any]:
    """The realised budget; FLOPs and bytes are NaN where the model's sizes are not known."""
    return {
        "visual_tokens": row.visual,
        "text_tokens": row.text,
        "tokens_per_layer": row.tokens_per_layer,
        "realised_tokens": row.mean_tokens,
        "flops": realised_flops(row, size) if size else math.nan,
        "cache_bytes": realised_bytes(row, size, number_bytes) if size else math.nan,
    }


def _whole(text: str) -> str:
    """The text with halves of letters (lone surrogates), which no file can hold, replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
