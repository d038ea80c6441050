"""Measures how long a strategy's selection takes. The result is a figure to read, never a failure."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from tokenbench.contract.budget import Budget
from tokenbench.engine import RowPlan, SelectionTimer
from tokenbench.engine.attach import attach
from tokenbench.errors import UsageError
from tokenbench.testing.case import Case
from tokenbench.testing.check import Check, checks
from tokenbench.testing.oracles import Prompt

__all__ = ["selection_cost"]

TOKENS, TEXT, LARGE = 576, 50, 0.5
_CHECKS: list[Check] = []


@checks(_CHECKS, "")
def selection_cost(cases: Sequence[Case]) -> str:
    """How long selection takes for a sample of 576 visual tokens, on a decoder of tiny width."""
    prompts = [(len(grids), case, prompt) for case in cases for grids, prompt in _prompts(case)]
    if not prompts:
        return "not measured: no adapter makes up a prompt of that length"
    _, case, prompt = min(prompts, key=lambda one: one[0])
    plan = RowPlan.make(case.strategy, Budget.parse("1/3"), case.depth)
    seconds = []
    for _ in range(3):
        timer = SelectionTimer(cuda=False, clock=time.process_time)
        with attach(case.model, case.adapter, [plan]) as pruner, torch.inference_mode():
            pruner.timer = timer
            case.model(**prompt)
        seconds.append(timer.seconds)
    figure = f"{1000 * min(seconds):.1f} ms of CPU a sample of {TOKENS} tokens"
    slow = "LARGE, beside a prefill it may undo what pruning saves: " if min(seconds) > LARGE else ""
    return slow + figure


def _prompts(case: Case) -> list[tuple[Sequence[object], Prompt]]:
    """Return the lattices and the prompt of that many tokens, if the model can have one."""
    try:
        grids = case.adapter.default_grids(case.model.config, TOKENS)
        return [(grids, case.adapter.dummy_inputs(case.model.config, grids, TEXT))]
    except (UsageError, NotImplementedError):
        return []
