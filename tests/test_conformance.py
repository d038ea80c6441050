"""Every strategy on every backbone, through the kit that third parties use."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tiny import BACKBONES, STRATEGIES, tiny
from tokenbench import testing
from tokenbench.plugins import registry


@pytest.mark.parametrize("backbone", BACKBONES)
def test_backbone(backbone: str) -> None:
    testing.check_backbone(*tiny(backbone))


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("check", testing.strategy_checks(), ids=lambda check: check.__name__)
def test_strategy(check: Any, strategy: str, backbone: str) -> None:
    check(registry().get("strategies", strategy)(), *tiny(backbone), testing.BUDGET)
