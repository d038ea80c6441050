"""Strategies that go on from one unpruned prefill, side by side in one batch, decide and answer as each does alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from tests.tiny import BACKBONES, STRATEGIES, tiny
from tokenbench import Budget, Strategy
from tokenbench.engine import RowPlan, RowTrace
from tokenbench.engine.attach import attach
from tokenbench.registry.backbones import backbone_for
from tokenbench.registry.names import parse_strategy
from tokenbench.registry.plugins import registry
from tokenbench.testing import batched, generate, logits

CLOSE: dict[str, Any] = {"atol": 5e-5, "rtol": 1e-4}


def plan(name: str | Strategy, budget: str, depth: int) -> RowPlan:
    strategy = parse_strategy(name, registry()).strategy if isinstance(name, str) else name
    return RowPlan.make(strategy, Budget.parse(budget) if strategy.budgeted else Budget.none(), depth)


def kept(row: RowTrace) -> list[tuple[int, list[int]]]:
    return [(layer, ordinals.tolist()) for layer, ordinals in row.stages]


@pytest.mark.parametrize(
    ("backbone", "strategies"),
    [
        *((backbone, STRATEGIES[at :: len(BACKBONES)]) for at, backbone in enumerate(BACKBONES)),
        *(pytest.param(backbone, STRATEGIES, marks=pytest.mark.exhaustive) for backbone in BACKBONES),
    ],
    ids=lambda value: value if isinstance(value, str) else "all" if value is STRATEGIES else "some",
)
def test_going_on_from_a_checkpoint_is_running_alone(backbone: str, strategies: Sequence[str]) -> None:
    model, prompts = tiny(backbone)
    adapter = backbone_for(model, registry())
    depth = len(adapter.decoder(model).layers)  # type: ignore[arg-type]
    plans = [plan(name, budget, depth) for name in strategies for budget in ("1/2", "1/4")]
    vanilla = RowPlan.make(parse_strategy("vanilla", registry()).strategy, Budget.everything(), depth)
    names = [str(b) for b in range(len(prompts))]
    with attach(model, adapter, [vanilla, *plans]) as pruner:
        pruner.plans, pruner.checkpoint_for = [vanilla], plans
        generate(model, batched(prompts))
        pruner.checkpoint_for = ()
        checkpoint = pruner.checkpoint
        assert checkpoint is not None
        found: list[tuple[RowPlan, list[RowTrace], Any]] = []
        for first in sorted({p.typical[0].layer for p in plans}):
            group = [p for p in plans if p.typical[0].layer == first]
            pruner.plans = [p.of(name) for p in group for name in names]
            with pruner.sharing(checkpoint=checkpoint):
                output = logits(generate(model, batched([*prompts] * len(group))))
            count = len(prompts)
            for a, one in enumerate(group):
                rows = slice(a * count, (a + 1) * count)
                found.append((one, pruner.rows[rows], output[:, rows]))
    for one, rows, answers in found:
        with attach(model, adapter, [one.of(name) for name in names]) as alone:
            output = logits(generate(model, batched(prompts)))
        assert [kept(row) for row in rows] == [kept(row) for row in alone.rows], one.name
        assert [row.cache_lengths for row in rows] == [row.cache_lengths for row in alone.rows]
        torch.testing.assert_close(answers, output, **CLOSE)


def test_skipped_layers_are_not_run_and_come_back() -> None:
    model, prompts = tiny("llava")
    adapter = backbone_for(model, registry())
    layers: Any = adapter.decoder(model).layers
    vanilla = RowPlan.make(parse_strategy("vanilla", registry()).strategy, Budget.everything(), len(layers))
    later = plan("fastv:layer=3", "1/4", len(layers))
    calls = [0] * len(layers)
    hooks = []
    for i, layer in enumerate(layers):

        def count(module: Any, args: Any, kwargs: Any, i: int = i) -> None:
            calls[i] += 1

        hooks.append(layer.mlp.register_forward_pre_hook(count, with_kwargs=True))
    with attach(model, adapter, [vanilla]) as pruner:
        pruner.checkpoint_for = [later]
        generate(model, batched(prompts[:1]), tokens=1)
        pruner.plans, pruner.checkpoint_for = [later], ()
        assert pruner.checkpoint is not None
        with pruner.sharing(checkpoint=pruner.checkpoint):
            generate(model, batched(prompts[:1]), tokens=1)
    for hook in hooks:
        hook.remove()
    assert calls == [1, 1, 1, 2, 2, 2]
    assert not any("forward" in vars(layer) for layer in layers)


def test_the_first_shared_layers_are_bitwise_the_same() -> None:
    """One plan on the same rows: nothing but the skipped layers is left out."""
    model, prompts = tiny("llava")
    adapter = backbone_for(model, registry())
    vanilla = RowPlan.make(parse_strategy("vanilla", registry()).strategy, Budget.everything(), 6)
    one = plan("clse", "1/2", 6)
    with attach(model, adapter, [vanilla]) as pruner:
        pruner.checkpoint_for = [one]
        generate(model, batched(prompts))
        pruner.plans, pruner.checkpoint_for = [one], ()
        assert pruner.checkpoint is not None
        with pruner.sharing(checkpoint=pruner.checkpoint):
            shared = generate(model, batched(prompts))
        alone = generate(model, batched(prompts))
    assert torch.equal(logits(shared), logits(alone))
