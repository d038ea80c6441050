"""The record that a run stores for one question under one plan."""

from __future__ import annotations

import math
from typing import Any

from tokenbench.contract.budget import count
from tokenbench.contract.lattice import Grid
from tokenbench.contract.sizes import ModelSize
from tokenbench.contract.suite import Sample, Task
from tokenbench.cost.realised import realised_bytes, realised_flops
from tokenbench.engine import RowPlan, RowTrace
from tokenbench.errors import StrategyError
from tokenbench.runner.evidence import evidence_height, evidence_tokens, recall

__all__ = ["check_pruned", "cost_record", "score_record"]


def check_pruned(plan: RowPlan, row: RowTrace) -> None:
    """Check that a strategy removed tokens if its budget requires it.

    Raises:
        StrategyError: It kept all tokens in every layer.
    """
    wanted = count(plan.budget.keep, row.visual, row.visual)
    if plan.strategy.budgeted and wanted < row.visual and row.mean_tokens >= row.visual:
        raise StrategyError(
            f"strategy {plan.name} keeps all {row.visual} visual tokens in every layer at budget {plan.budget}"
        )


def score_record(task: Task, sample: Sample, answer: str, row: RowTrace, grid: Grid | None) -> dict[str, Any]:
    """Return the part of a record with the answer, its score, and the kept tokens.

    Args:
        task: The task, which scores the answer.
        sample: The sample.
        answer: The answer.
        row: The trace of its row.
        grid: The lattice of the first image, if it has one.
    """
    evidence = evidence_tokens(sample.evidence, grid) if grid else set()
    kept = row.kept
    return {
        "sample": sample.key,
        "cluster": sample.cluster,
        "unit": sample.unit or sample.key,
        "stratum": sample.stratum,
        "turn": sample.turn,
        "answer": _replace_surrogates(answer),
        "target": _replace_surrogates(sample.target),
        "asked": sample.digest,
        "score": float(task.score(answer, sample)),
        "kept": kept,
        "leaves": leaving_layers(row),
        "lattice": [grid.t, grid.h, grid.w, grid.num_prefix_tokens] if grid else None,
        "evidence_recall": recall(kept, evidence),
        "evidence_height": evidence_height(sample.evidence),
    }


def leaving_layers(row: RowTrace) -> list[int] | None:
    """Return, for every visual token, the first layer without it, counted from 0, or -1 if it stays to the end.

    Return None if fewer than two stages decided: the kept tokens and their number in each layer then say the same.
    """
    if len(row.stages) < 2:
        return None
    leaves, there = [-1] * row.visual, set(range(row.visual))
    for layer, kept in row.stages:
        stay = set(kept.tolist())
        for ordinal in there - stay:
            leaves[ordinal] = layer
        there = stay
    return leaves


def cost_record(row: RowTrace, size: ModelSize | None, number_bytes: int) -> dict[str, Any]:
    """Return the part of a record with the realised cost. FLOPs and bytes are NaN if the sizes of the model are unknown."""
    return {
        "visual_tokens": row.visual,
        "text_tokens": row.text,
        "tokens_per_layer": row.tokens_per_layer,
        "realised_tokens": row.mean_tokens,
        "flops": realised_flops(row, size) if size else math.nan,
        "cache_bytes": realised_bytes(row, size, number_bytes) if size else math.nan,
    }


def _replace_surrogates(text: str) -> str:
    """Replace lone surrogates, which no UTF-8 file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
