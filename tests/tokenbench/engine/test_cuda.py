"""On a GPU: the same answers and choices as on the CPU, and the everyday situations in bfloat16. Skipped without one."""

from __future__ import annotations

import copy
from importlib.util import find_spec
from typing import Any

import pytest
import torch

import tokenbench
from tests.tiny import BACKBONES, STRATEGIES
from tokenbench import UsageError
from tokenbench.registry.plugins import registry
from tokenbench.testing import Prompt, batched, generate, logits
from tokenbench.testing.oracles import kv_cache

pytestmark = pytest.mark.gpu
QUESTION_GUIDED = ("fastv", "clse", "divprune", "sparsevlm")
KERNELS = [
    "sdpa",
    pytest.param(
        "flash_attention_2", marks=pytest.mark.skipif(find_spec("flash_attn") is None, reason="needs flash-attn")
    ),
    pytest.param(
        "kernels-community/flash-attn2",
        marks=pytest.mark.skipif(find_spec("kernels") is None, reason="needs the package kernels, and its download"),
    ),
]


def on(device: str, prompts: list[Prompt], dtype: torch.dtype = torch.float32) -> list[Prompt]:
    return [
        {name: value.to(device, dtype if value.is_floating_point() else None) for name, value in prompt.items()}
        for prompt in prompts
    ]


def run(model: Any, strategy: str, prompts: list[Prompt], **options: Any) -> tuple[Any, Any]:
    with tokenbench.pruned(model, strategy, "1/3", keys=[str(b) for b in range(len(prompts))]) as pruning:
        return generate(model, batched(prompts), **options), pruning


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_gpu_answers_and_chooses_as_the_cpu_does(backbone: str) -> None:
    """In float64, every strategy: scores of random weights that are tied in float32 are decided by the last bit.

    Norms and rotary angles are computed in float32 all the same, which is what the tolerance of the logits is for.
    """
    model, prompts = registry().get("backbones", backbone)().tiny()
    model, prompts = model.double(), on("cpu", prompts, torch.float64)
    other, moved = copy.deepcopy(model).to("cuda"), on("cuda", prompts, torch.float64)
    for strategy in STRATEGIES:
        ours, pruning = run(other, strategy, moved)
        theirs, expected = run(model, strategy, prompts)
        for row, one in zip(pruning.rows, expected.rows, strict=True):
            assert [kept.tolist() for _, kept in row.stages] == [kept.tolist() for _, kept in one.stages], strategy
        assert torch.equal(ours.sequences.cpu(), theirs.sequences), strategy
        torch.testing.assert_close(logits(ours).cpu(), logits(theirs), atol=1e-3, rtol=1e-3, msg=strategy)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("strategy", QUESTION_GUIDED)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_everyday_situations_in_bfloat16(backbone: str, strategy: str, kernel: str) -> None:
    """Keeping all changes no bit; without a cache, with drafts and in a batch the choice is the same; the rest is refused."""
    model, prompts = registry().get("backbones", backbone)().tiny(kernel)
    model.to("cuda", torch.bfloat16)
    rows = on("cuda", prompts, torch.bfloat16)
    stock = generate(model, batched(rows))
    with tokenbench.pruned(model, "vanilla"):
        assert torch.equal(logits(generate(model, batched(rows))), logits(stock))
    output, pruning = run(model, strategy, rows)
    assert logits(output).isfinite().all()
    kept = [row.kept for row in pruning.rows]
    assert all(row.mean_tokens < row.visual for row in pruning.rows)
    assert [row.kept for row in run(model, strategy, rows, use_cache=False)[1].rows] == kept
    assert len(run(model, strategy, rows, use_cache=False)[1].prefills) == 1
    ids = rows[2]["input_ids"].clone()
    ids[:, -2:] = ids[:, :2]  # drafts are what followed the same two words before
    repeating = [{**rows[2], "input_ids": ids}]
    plain, drafted = (run(model, strategy, repeating, **more)[1] for more in ({}, {"prompt_lookup_num_tokens": 3}))
    assert drafted.rows[0].kept == plain.rows[0].kept
    with tokenbench.pruned(model, strategy, "1/3"):
        with pytest.raises(UsageError, match=r"in pieces|precede the image"):
            generate(model, rows[0], prefill_chunk_size=4)
        with torch.no_grad():
            cache = kv_cache(model(**rows[0], use_cache=True))
    with pytest.raises(UsageError, match="KV cache was pruned"), torch.no_grad():
        model(input_ids=rows[0]["input_ids"][:, -1:], past_key_values=cache)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("strategy", QUESTION_GUIDED)
def test_layers_on_two_gpus_decide_and_answer_as_on_one(strategy: str, dtype: torch.dtype) -> None:
    """The same kernels on the same numbers: both cards are of one kind, so that nothing may differ but what they round."""
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    hooks = pytest.importorskip("accelerate.hooks", reason="needs accelerate")
    model, prompts = registry().get("backbones", "llava")().tiny()
    model.to("cuda:0", dtype)
    rows = on("cuda:0", prompts, dtype)
    expected, before = run(model, strategy, rows)
    decoder = model.model.language_model
    for layer in decoder.layers[3:]:
        hooks.add_hook_to_module(layer.to("cuda:1"), hooks.AlignDevicesHook("cuda:1"))
    for module in (decoder.norm, model.lm_head):
        hooks.add_hook_to_module(module, hooks.AlignDevicesHook("cuda:0"))
    found, after = run(model, strategy, rows)
    assert [row.kept for row in after.rows] == [row.kept for row in before.rows]
    # bfloat16 keeps 8 bits of a number: a sum over a layer may be off by a few of its last places.
    near = {"atol": 1e-4, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 0.05, "rtol": 0.05}
    torch.testing.assert_close(logits(found), logits(expected), **near)


@pytest.mark.parametrize("strategy", ["fastv", "divprune"])
def test_checkpointed_gradients_on_a_gpu_are_those_without(strategy: str) -> None:
    """The backward pass runs in another thread there."""
    found = []
    for checkpointing in (False, True):
        model, prompts = registry().get("backbones", "llava")().tiny()
        model.to("cuda").train()
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        with tokenbench.pruned(model, strategy, "1/3"):
            model(**on("cuda", prompts)[0]).logits[0, -1].log_softmax(-1)[7].backward()
        found.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    plain, checkpointed = found
    assert plain.keys() == checkpointed.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, atol=1e-4, rtol=1e-3, msg=name)


def test_merged_states_refuse_gradients_on_a_gpu() -> None:
    """An error from the engine's own thread of a backward pass arrives as it was raised."""
    model, prompts = registry().get("backbones", "llava")().tiny()
    model.to("cuda")
    with tokenbench.pruned(model, "sparsevlm", "1/3"):
        loss = model(**on("cuda", prompts)[0]).logits.sum()
    with pytest.raises(UsageError, match="no gradient flows"):
        loss.backward()
