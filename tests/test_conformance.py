"""Every strategy on every backbone, through the kit that third parties use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tiny import BACKBONES, STRATEGIES, tiny
from tokenbench import Budget, Stage, Strategy, View, testing
from tokenbench.plugins import registry


@pytest.mark.parametrize("backbone", BACKBONES)
def test_backbone(backbone: str) -> None:
    testing.check_backbone(*tiny(backbone))


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("check", testing.strategy_checks(), ids=lambda check: check.__name__)
def test_strategy(check: Any, strategy: str, backbone: str) -> None:
    check(registry().get("strategies", strategy)(), *tiny(backbone), testing.BUDGET)


class Moody(Strategy):
    """Draws from a stream that all samples share."""

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        return [Stage(2, 0.5)]

    def score(self, view: View) -> Tensor:
        return torch.rand(view.n)


class Lazy(Strategy):
    """Removes nothing."""

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        return [Stage(2, 1.0)]

    def score(self, view: View) -> Tensor:
        return view.alive.float()


@pytest.mark.parametrize(("strategy", "finding"), [(Moody(), "in a batch than alone"), (Lazy(), "nothing was removed")])
def test_the_kit_finds_what_is_wrong(strategy: Strategy, finding: str) -> None:
    with pytest.raises(AssertionError, match=finding):
        testing.check_strategy(strategy, tiny("llava"))
