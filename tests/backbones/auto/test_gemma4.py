"""Gemma 4, whose last layers may read the keys of an earlier one, and whose layers are given an embedding of every token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

import tokenbench
from tokenbench import Budget, Keep, Stage, Strategy
from tokenbench.engine.layers import key_holders, last_stage
from tokenbench.errors import InfeasibleError
from tokenbench.testing import Case, strategy_checks
from tokenbench.testing.backbone import AttentionTwice
from tokenbench_backbones.auto import Auto, small_overrides

KINDS = ["sliding_attention"] * 3 + ["full_attention", "sliding_attention", "full_attention"]
"""The last two layers read the keys of layers 2 and 3."""


class Early(AttentionTwice):
    """Prunes before layers 1 and 2."""

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        return [(1, 0.6), (2, budget.keep)]


class Late(Strategy):
    """Prunes before layer 3, whose own keys are read again, as are those of layer 2."""

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        return [Stage(3, budget.keep)]


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    sizes = small_overrides.OVERRIDES["gemma4"]
    text = {**sizes.text, "layer_types": KINDS, "num_kv_shared_layers": 2}
    monkeypatch.setitem(small_overrides.OVERRIDES, "gemma4", replace(sizes, text=text))
    return Auto("gemma4").tiny()


@pytest.mark.slow
def test_pruning_before_keys_that_are_read_again_is_right(shared: tuple[Any, Any]) -> None:
    model, prompts = shared
    for check in strategy_checks():
        check(Case(Early(), model, prompts))


def test_no_stage_stands_behind_keys_that_are_read_again(shared: tuple[Any, Any]) -> None:
    model, prompts = shared
    decoder = Auto("gemma4").decoder(model)
    assert key_holders(decoder) == [0, 1, 2, 3, 2, 3]
    assert last_stage(decoder) == 2
    message = "before decoder layer 3, but later layers of this model read the keys of layer 2 again"
    with (
        pytest.raises(InfeasibleError, match=message),
        torch.no_grad(),
        tokenbench.pruned(model, Late(), "1/3"),
    ):
        model(**prompts[0])
