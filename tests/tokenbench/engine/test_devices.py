"""Where tensors are: on one pretended GPU, and on two that share the layers of a decoder. The numbers are the CPU's."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

import tokenbench
from tests.pretend import PretendGPU
from tests.tiny import BACKBONES, STRATEGIES, device, on, tiny
from tokenbench import Budget, Selection, Stage, Strategy, View, testing
from tokenbench.registry.backbones import backbone_for
from tokenbench.registry.plugins import registry
from tokenbench.testing import batched, generate, logits

pytestmark = pytest.mark.skipif(device() != "cpu", reason="pretends to have a GPU, and --device names one")
SEVERAL = ("fastv", "clse", "clse-m", "pdrop", "v2drop", "visionzip", "sparsevlm")
"""Strategies that read what other layers, or the encoder, computed, before layers of either device."""
QUICK = ("llava",)
ENOUGH = {
    "turns the right way",
    "keeping all is stock",
    "batch equals one by one",
    "obeys the seed",
    "decides the same under eager attention",
    "runs in half precision",
}
"""Checks that take a strategy through all of its branches: its dial, nothing to drop, one row and several, its generator, the model's own
attention, other types of numbers. The others compare what these have decided; they do so on the CPU, and here in the exhaustive run."""


@pytest.fixture
def gpu() -> Iterator[None]:
    with PretendGPU():
        yield


def quick(names: list[str]) -> list[Any]:
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.usefixtures("gpu")
def test_what_a_gpu_would_refuse_is_refused_here() -> None:
    here, there, other = torch.ones(3), torch.ones(3, device="cuda"), torch.ones(3).to("cuda:1")
    assert [str(t.device) for t in (here, there, other, there * 2, there.new_zeros(2), other.cpu())] == [
        "cpu", "cuda:0", "cuda:1", "cuda:0", "cuda:0", "cpu"
    ]  # fmt: skip
    assert str((there * torch.tensor(2.0)).device) == "cuda:0"
    assert str(there[torch.tensor([0, 2])].device) == "cuda:0"
    for mixed in (lambda: here + there, lambda: torch.cat([there, other]), lambda: there.gather(0, torch.tensor([0]))):
        with pytest.raises(RuntimeError, match="same device"):
            mixed()
    with pytest.raises(TypeError, match="numpy"):
        there.numpy()
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(3, device="cuda", generator=torch.Generator())
    moved = torch.nn.Linear(2, 2).to("cuda")
    assert (str(moved.weight.device), str(copy.deepcopy(moved).bias.device)) == ("cuda:0", "cuda:0")


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("backbone", quick(BACKBONES))
def test_the_kit_runs_where_the_model_is(backbone: str) -> None:
    model, prompts = tiny(backbone)
    case = testing.Case(testing.KeepAll(), *on("cuda", copy.deepcopy(model), prompts))
    for check in testing.backbone_checks():
        check(case)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    "every", [pytest.param(False, marks=pytest.mark.slow), pytest.param(True, marks=pytest.mark.exhaustive)]
)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_decides_on_the_device_of_the_model(strategy: str, every: bool) -> None:
    model, prompts = tiny("llava")
    case = testing.Case(registry().get("strategies", strategy)(), *on("cuda", copy.deepcopy(model), prompts))
    checks = [check for check in testing.strategy_checks() if every or check.name in ENOUGH]
    assert every or len(checks) == len(ENOUGH)
    for check in checks:
        check(case)


@pytest.mark.parametrize("strategy", SEVERAL)
@pytest.mark.parametrize("backbone", quick(["llava", "qwen2.5-vl", "internvl"]))
def test_layers_on_two_devices_decide_and_answer_as_on_one(backbone: str, strategy: str) -> None:
    """As accelerate spreads them: the later half stands on another device, and the output comes back."""
    hooks = pytest.importorskip("accelerate.hooks", reason="needs accelerate")
    model, prompts = tiny(backbone)
    with tokenbench.pruned(model, strategy, "1/3") as pruning:
        expected, kept = logits(generate(model, batched(prompts))), [row.kept for row in pruning.rows]
    with PretendGPU():
        spread, moved = on("cuda:0", copy.deepcopy(model), prompts)
        decoder = backbone_for(spread, registry()).decoder(spread)
        for layer in decoder.layers[3:]:  # type: ignore[index]
            hooks.add_hook_to_module(layer.to("cuda:1"), hooks.AlignDevicesHook("cuda:1"))
        for module in (decoder.norm, spread.lm_head):
            hooks.add_hook_to_module(module, hooks.AlignDevicesHook("cuda:0"))
        with tokenbench.pruned(spread, strategy, "1/3") as pruning:
            found = logits(generate(spread, batched(moved))).cpu()
        assert [row.kept for row in pruning.rows] == kept
        assert {str(layer.self_attn.q_proj.weight.device) for layer in decoder.layers} == {"cuda:0", "cuda:1"}  # type: ignore[union-attr]
    testing.oracles.assert_close(found, expected)


class EveryOther(Strategy):
    """Makes its indices without a device, as authors do who have no GPU."""

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        return [Stage(2, 0.5, hidden=(2,))]

    def select(self, view: View) -> Selection:
        keep = torch.arange(view.k) * 2
        return Selection(keep, view.hidden[2][keep])


@pytest.mark.usefixtures("gpu")
def test_indices_of_a_strategy_may_stand_on_the_cpu() -> None:
    model, prompts = on("cuda", copy.deepcopy(tiny("llava")[0]), tiny("llava")[1])
    with tokenbench.pruned(model, EveryOther(), "1/2") as pruning:
        generate(model, batched(prompts), tokens=1)
    assert [row.kept[:3] for row in pruning.rows] == [[0, 2, 4]] * len(prompts)
