"""Everything built in, every strategy on every backbone, through the kit that third parties use."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from tests.tiny import BACKBONES, STRATEGIES, spread, tiny
from tokenbench import Budget, MachineError, Stage, Strategy, View, testing
from tokenbench.registry.plugins import registry


def named(check: testing.Check) -> str:
    return check.name.replace(" ", "_")


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("check", testing.backbone_checks(), ids=named)
def test_backbone(check: testing.Check, backbone: str) -> None:
    check(testing.Case(testing.KeepAll(), *tiny(backbone)))


@pytest.mark.parametrize(("strategy", "backbone"), spread(STRATEGIES))
@pytest.mark.parametrize("check", testing.strategy_checks(), ids=named)
def test_strategy(check: testing.Check, strategy: str, backbone: str) -> None:
    check(testing.Case(registry().get("strategies", strategy)(), *tiny(backbone)))


@pytest.mark.parametrize("strategy", [*STRATEGIES, "vanilla"])
def test_schedule(strategy: str) -> None:
    for check in testing.plan_checks():
        check(registry().get("strategies", strategy)())


@pytest.mark.parametrize("merger", registry().names("mergers"))
def test_merger(merger: str) -> None:
    testing.check_merger(registry().get("mergers", merger)())


@pytest.mark.parametrize("suite", registry().names("suites"))
def test_suite(suite: str) -> None:
    try:
        testing.check_suite(registry().get("suites", suite))
    except MachineError as error:
        pytest.skip(str(error))


SLOW = ("figures", "mlflow", "wandb")


@pytest.mark.parametrize(
    "report", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in registry().names("reports")]
)
def test_report(report: str) -> None:
    try:
        testing.check_report(registry().get("reports", report)())
    except MachineError as error:
        pytest.skip(str(error))


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
