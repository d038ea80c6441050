"""Several questions on one image: what comes before them is computed once, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tokenbench
from tests.tiny import BACKBONES, STRATEGIES, device, tiny
from tokenbench import Budget
from tokenbench.engine import LayerCheckpoint, RowPlan
from tokenbench.engine.attach import attach
from tokenbench.engine.attention_tap import AttentionTap
from tokenbench.engine.selection import select
from tokenbench.engine.shared_prefix import SharedPrefix
from tokenbench.registry.backbones import backbone_for
from tokenbench.registry.names import parse_strategy
from tokenbench.registry.plugins import registry
from tokenbench.testing import Prompt, batched, generate, logits

CLOSE: dict[str, Any] = {"atol": 5e-5, "rtol": 1e-4}
NAMES = ["fastv", "clse", "priortr", "dart", "sparsevlm", "priortr-2f", "divprune"]


def questions(prompt: Prompt, *lengths: int) -> list[Prompt]:
    """The same images with questions of so many words more."""
    found = []
    for extra in lengths:
        words = torch.randint(3, 80, (1, extra), generator=torch.Generator().manual_seed(extra)).to(device())
        longer = {}
        for name, value in prompt.items():
            if value.shape != prompt["input_ids"].shape:
                longer[name] = value
            elif name == "input_ids":
                longer[name] = torch.cat([value, words], 1)
            else:
                longer[name] = torch.nn.functional.pad(value, (0, extra), value=int(name == "attention_mask"))
        found.append(longer)
    return found


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", BACKBONES)
def test_shared_prefixes_change_nothing(name: str, attention: str) -> None:
    model, prompts = tiny(name, attention)
    adapter = backbone_for(model, registry())
    layers: Any = adapter.decoder(model).layers
    depth = len(layers)
    rows = [*questions(prompts[0], 1, 4, 2), prompts[0], *questions(prompts[0], 7)]
    same = [0] * 5
    if prompts[2]["input_ids"].shape == prompts[0]["input_ids"].shape:
        rows.append(prompts[2])
        same.append(5)
    vanilla = RowPlan.make(parse_strategy("vanilla", registry()).strategy, Budget.everything(), depth)
    others = [RowPlan.make(parse_strategy(n, registry()).strategy, Budget.parse("1/2"), depth) for n in NAMES]
    widths: list[int] = []
    hook = layers[0].mlp.register_forward_pre_hook(lambda module, args: widths.append(args[0].shape[:2].numel()))
    found: list[tuple[Any, LayerCheckpoint]] = []
    with attach(model, adapter, [vanilla, *others]) as pruner:
        pruner.plans, pruner.checkpoint_for = [vanilla], others
        for shared in (same, ()):
            with pruner.sharing(shared):
                output = logits(generate(model, batched(rows), tokens=3))
            assert pruner.checkpoint is not None
            found.append((output, pruner.checkpoint))
    hook.remove()
    (ours, checkpoint), (stock, own) = found
    torch.testing.assert_close(ours, stock, **CLOSE)
    valid = batched(rows)["attention_mask"].bool()
    for depth_, states in own.hidden.items():
        torch.testing.assert_close(checkpoint.hidden[depth_][valid], states[valid], **CLOSE)
    for request, (asking, attended) in own.attention.items():
        assert list(checkpoint.attention[request][0]) == list(asking)
        torch.testing.assert_close(checkpoint.attention[request][1], attended, **CLOSE)
    for layer, keys in own.keys.items():
        torch.testing.assert_close(checkpoint.keys[layer][valid], keys[valid], **CLOSE)
    for ours_, theirs in zip(checkpoint.cache, own.cache, strict=True):
        for part, stock_part in zip(ours_, theirs, strict=True):
            torch.testing.assert_close(part.transpose(1, 2)[valid], stock_part.transpose(1, 2)[valid], **CLOSE)
    assert sum(widths[:2]) < valid.numel() <= widths[-3]  # fewer tokens went through the layer
    assert not any("forward" in vars(layer) for layer in layers)


def test_rows_of_unlike_lengths_are_computed_without_padding() -> None:
    model, prompts = tiny("llava")
    adapter = backbone_for(model, registry())
    vanilla = RowPlan.make(parse_strategy("vanilla", registry()).strategy, Budget.everything(), 6)
    rows = [*questions(prompts[0], 9), prompts[1], prompts[2]]
    widths: list[int] = []
    hook = (
        adapter.decoder(model)
        .layers[0]
        .mlp.register_forward_pre_hook(lambda module, args: widths.append(args[0].shape[:2].numel()))
    )
    with attach(model, adapter, [vanilla]) as pruner:
        with pruner.sharing([0, 1, 2]):
            ours = logits(generate(model, batched(rows)))
        stock = logits(generate(model, batched(rows)))
    hook.remove()
    torch.testing.assert_close(ours, stock, **CLOSE)
    real = int(batched(rows)["attention_mask"].sum())
    assert widths[0] == real < batched(rows)["attention_mask"].numel()


def test_rows_whose_positions_count_padding_share_nothing() -> None:
    """Position ids [1, S] for all rows: the same words after the same picture stand elsewhere in a padded row."""
    model, prompts = tiny("llava")
    adapter = backbone_for(model, registry())
    vanilla = RowPlan.make(parse_strategy("vanilla", registry()).strategy, Budget.everything(), 6)
    inputs = batched([prompts[0], *questions(prompts[0], 9)])
    positions = torch.arange(inputs["input_ids"].shape[1], device=device()).unsqueeze(0)
    with torch.no_grad(), attach(model, adapter, [vanilla]) as pruner:
        with pruner.sharing([0, 0]):
            ours = model(**inputs, position_ids=positions).logits[:, -1]
        stock = model(**inputs, position_ids=positions).logits[:, -1]
    torch.testing.assert_close(ours, stock, **CLOSE)


def test_rows_without_an_image_run_beside_others() -> None:
    model, prompts = tiny("llava")
    adapter = backbone_for(model, registry())
    vanilla = RowPlan.make(parse_strategy("vanilla", registry()).strategy, Budget.everything(), 6)
    words = {"input_ids": torch.tensor([[5, 6, 7]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    words["pixel_values"] = prompts[0]["pixel_values"][:0]
    inputs = batched([prompts[0], {name: value.to(device()) for name, value in words.items()}])
    with torch.no_grad(), attach(model, adapter, [vanilla]) as pruner:
        with pruner.sharing([0, 1]):
            ours = model(**inputs).logits[:, -1]
        stock = model(**inputs).logits[:, -1]
    torch.testing.assert_close(ours, stock, **CLOSE)


def test_nothing_is_laid_end_to_end_where_nobody_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a sweep, where no layer would read it."""
    monkeypatch.setattr(SharedPrefix, "of", lambda *_: pytest.fail("nobody reads it"))
    model, prompts = tiny("llava")
    with tokenbench.pruned(model, "prumerge-adaptive"):  # rows keep unlike many tokens
        generate(model, batched([*prompts, *questions(prompts[0], 9)]))


def test_nothing_is_laid_end_to_end_for_flash_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes no mask with holes. The prompts are equally long, so that no mask is made, and sdpa can stand in for it."""
    monkeypatch.setattr(SharedPrefix, "of", lambda *_: pytest.fail("flash attention takes no such masks"))
    monkeypatch.setattr(AttentionTap, "attention", "flash_attention_2")
    model, prompts = tiny("llava")
    adapter = backbone_for(model, registry())
    fastv = RowPlan.make(parse_strategy("fastv", registry()).strategy, Budget.parse("1/2"), 6)
    with attach(model, adapter, [fastv]) as pruner, pruner.sharing([0, 0]):
        generate(model, batched([prompts[0], prompts[0]]), tokens=1)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", BACKBONES)
def test_questions_share_the_tokens_that_a_method_left(name: str, attention: str) -> None:
    """Side by side: methods that never look at the question, with prefixes of two lengths, and one that does."""
    model, prompts = tiny(name, attention)
    adapter = backbone_for(model, registry())
    layers: Any = adapter.decoder(model).layers
    rows = [*questions(prompts[0], 1, 4, 2), prompts[0], prompts[1], *questions(prompts[1], 3)]
    same = [0, 0, 0, 0, 4, 4]
    chosen = [
        ("divprune", "1/2"),
        ("downsample", "1/4"),
        ("pooling", "1/2"),
        ("random:layer=0", "1/2"),
        ("fastv", "1/4"),
    ]
    plans = [
        RowPlan.make(parse_strategy(n, registry()).strategy, Budget.parse(b), len(layers), name=n).of(str(row))
        for n, b in chosen
        for row in range(len(rows))
    ]
    alike = [at * len(rows) + first for at in range(len(chosen)) for first in same]
    widths: list[int] = []
    hook = layers[-1].mlp.register_forward_pre_hook(lambda module, args: widths.append(args[0].shape[:2].numel()))
    found = []
    with attach(model, adapter, plans) as pruner:
        for shared in (alike, ()):
            with pruner.sharing(shared):
                found.append((logits(generate(model, batched(rows * len(chosen)), tokens=3)), pruner.rows))
    hook.remove()
    (ours, traces), (stock, own) = found
    torch.testing.assert_close(ours, stock, **CLOSE)
    for trace, expected in zip(traces, own, strict=True):
        assert [kept.tolist() for _, kept in trace.stages] == [kept.tolist() for _, kept in expected.stages]
        assert trace.encoder_positions == expected.encoder_positions
        assert (trace.merged, trace.cache_lengths) == (expected.merged, expected.cache_lengths)
    assert sum(widths[:2]) < widths[-3]  # fewer tokens went through the layer


@pytest.mark.parametrize("name", STRATEGIES)
def test_questions_about_one_image_are_decided_as_each_by_itself(name: str) -> None:
    """What a strategy remembers of one of them does not reach the others."""
    model, prompts = tiny("llava")
    rows, strategy = questions(prompts[0], 1, 4, 2), parse_strategy(name, registry()).strategy
    budget = Budget.parse("1/2") if strategy.budgeted else Budget.none()
    plan, found = RowPlan.make(strategy, budget, 6), []
    with attach(model, backbone_for(model, registry()), [plan.of(str(row)) for row in range(3)]) as pruner:
        for shared in ([0, 0, 0], ()):
            with pruner.sharing(shared):
                generate(model, batched(rows), tokens=1)
            found.append([[kept.tolist() for _, kept in trace.stages] for trace in pruner.rows])
    assert found[0] == found[1]


def test_a_method_that_draws_or_looks_at_the_question_decides_for_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompts = tiny("llava")
    adapter = backbone_for(model, registry())
    rows = questions(prompts[0], 1, 4)
    asked: list[str] = []

    def counted(strategy: Any, name: str, views: Any, *rest: Any) -> Any:
        asked.extend([name] * len(views))
        return select(strategy, name, views, *rest)

    monkeypatch.setattr("tokenbench.engine.chooser.select", counted)
    for name in ("divprune", "random", "fastv", "dart"):
        plan = RowPlan.make(parse_strategy(name, registry()).strategy, Budget.parse("1/2"), 6, name=name)
        with attach(model, adapter, [plan.of("a"), plan.of("b")]) as pruner, pruner.sharing([0, 0]):
            generate(model, batched(rows), tokens=1)
    assert asked == ["divprune", "random", "random", "fastv", "fastv", "dart", "dart"]
