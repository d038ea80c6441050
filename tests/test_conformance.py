"""Every strategy on every backbone, through the kit that third parties use."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest

from tokenbench import testing
from tokenbench.plugins import registry

BACKBONES = [name for name in registry().names("backbones") if registry().get("backbones", name).source is None]
STRATEGIES = [name for name in registry().names("strategies") if name != "vanilla"]


@lru_cache
def tiny(backbone: str) -> Any:
    return registry().get("backbones", backbone)().tiny()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_backbone(backbone: str) -> None:
    testing.check_backbone(*tiny(backbone))


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("check", testing.strategy_checks(), ids=lambda check: check.__name__)
def test_strategy(check: Any, strategy: str, backbone: str) -> None:
    check(registry().get("strategies", strategy)(), *tiny(backbone), testing.BUDGET)
