"""What people do to a model inside pruned(): it equals an oracle that knows nothing of the engine, or is refused in words.

Eight situations, every architecture, strategies that read the question, that do not, that trim and that merge.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

import tokenbench
from tests.tiny import spread, tiny
from tokenbench import UsageError
from tokenbench.engine import Pruner
from tokenbench.registry.backbones import backbone_for
from tokenbench.registry.plugins import registry
from tokenbench.testing import CLOSE, Prompt, batched, generate, logits, masked
from tokenbench.testing.oracles import kv_cache

STRATEGIES = ("fastv", "clse", "divprune", "sparsevlm")


@dataclass(frozen=True)
class Case:
    """A strategy on a tiny model with unlike prompts."""

    backbone: str
    strategy: str

    @property
    def model(self) -> Any:
        return tiny(self.backbone)[0]

    @property
    def prompts(self) -> list[Prompt]:
        return tiny(self.backbone)[1]

    def fresh(self) -> Any:
        """A model of this test's own."""
        return registry().get("backbones", self.backbone)().tiny()[0]

    def pruned(self, model: Any = None) -> Any:
        return tokenbench.pruned(self.model if model is None else model, self.strategy, "1/3")

    def run(self, prompts: list[Prompt], model: Any = None, **options: Any) -> tuple[Any, Pruner]:
        with self.pruned(model) as pruning:
            return generate(self.model if model is None else model, batched(prompts), **options), pruning

    def equals_stock(self, output: Any, pruning: Pruner, prompts: list[Prompt]) -> None:
        """The stock model whose attention cannot see what was dropped; it has no merged states, and one set of positions."""
        for b, (prompt, row) in enumerate(zip(prompts, pruning.prefills[0], strict=True)):
            if not row.merged:
                torch.testing.assert_close(logits(output)[:, b], masked(self.model, output, prompt, b, row), **CLOSE)


def longer(prompt: Prompt, words: Tensor) -> Prompt:
    """With words [n] behind it."""
    extra = len(words)
    found = {}
    for name, value in prompt.items():
        if value.shape != prompt["input_ids"].shape:
            found[name] = value
        elif name == "input_ids":
            found[name] = torch.cat([value, words[None]], 1)
        else:
            found[name] = torch.nn.functional.pad(value, (0, extra), value=int(name == "attention_mask"))
    return found


def cut_after_image(case: Case, prompt: Prompt, extra: int = 0) -> Prompt:
    """Up to the last visual token and `extra` more."""
    visual = backbone_for(case.model, registry()).visual(case.model, prompt["input_ids"])[0]
    end = int(visual.nonzero().max()) + 1 + extra
    shape = prompt["input_ids"].shape
    return {name: value[:, :end] if value.shape == shape else value for name, value in prompt.items()}


def without_a_cache(case: Case) -> None:
    """Every step shows the whole text again: the choice is the prompt's all the same, and is made once."""
    cached, once = case.run(case.prompts)
    uncached, pruning = case.run(case.prompts, use_cache=False)
    assert [row.kept for row in pruning.rows] == [row.kept for row in once.rows]
    assert len(pruning.prefills) == 1
    torch.testing.assert_close(logits(uncached), logits(cached), **CLOSE)
    case.equals_stock(uncached, pruning, case.prompts)
    assert torch.equal(
        case.run(case.prompts, num_beams=3)[0].sequences,
        case.run(case.prompts, num_beams=3, use_cache=False)[0].sequences,
    )


def with_drafts(case: Case) -> None:
    """The first forward has drafted words behind the prompt; the KV cache is cropped where they were wrong."""
    ids = case.prompts[2]["input_ids"].clone()
    ids[:, -2:] = ids[:, :2]  # drafts are what followed the same two words before
    prompt = {**case.prompts[2], "input_ids": ids}
    plain, once = case.run([prompt], tokens=8)
    widths: list[int] = []
    embed = case.model.get_input_embeddings()
    hook = embed.register_forward_pre_hook(lambda module, args: widths.append(args[0].shape[1]))
    drafted, pruning = case.run([prompt], tokens=8, prompt_lookup_num_tokens=3)
    hook.remove()
    assert widths[0] == ids.shape[1] + 3
    assert pruning.rows[0].kept == once.rows[0].kept
    assert torch.equal(drafted.sequences, plain.sequences)
    torch.testing.assert_close(logits(drafted), logits(plain), **CLOSE)
    case.equals_stock(drafted, pruning, [prompt])


def in_pieces(case: Case) -> None:
    """Chunks, and a KV cache that holds the words before the image: refused, before anything is computed of them."""
    (prompt, *_), model = case.prompts, case.model
    behind = cut_after_image(case, prompt, extra=1)["input_ids"].shape[1]
    for size in (7, behind):
        with case.pruned(), pytest.raises(UsageError, match="in pieces"):
            generate(model, prompt, prefill_chunk_size=size)
    start = int((prompt["input_ids"][0] >= 90).nonzero()[0])
    with pytest.raises(UsageError, match="tokens that precede the image"), case.pruned():
        generate(model, prompt, prefill_chunk_size=start)
    before = kv_cache(model(input_ids=prompt["input_ids"][:, :start], use_cache=True))
    with pytest.raises(UsageError, match="tokens that precede the image"), case.pruned():
        generate(model, prompt, past_key_values=before)
    # Text goes on as ever from a cache that was filled outside.
    words = {"input_ids": torch.tensor([[5, 6, 7]])}
    held = [kv_cache(model(**prompt, use_cache=True)) for _ in range(2)]
    with case.pruned(), torch.no_grad():
        ours = model(**words, past_key_values=held[0]).logits
    with torch.no_grad():
        assert torch.equal(ours, model(**words, past_key_values=held[1]).logits)


def wrapped(case: Case) -> None:
    """Under LoRA weights: as the model they were merged into; in a class of one's own and compiled: as the model itself."""
    plain, _ = case.run(case.prompts)
    for wrapper in (_Own(case.model), torch.compile(case.model, backend="eager")):
        output, _ = case.run(case.prompts, wrapper)
        assert torch.equal(logits(output), logits(plain))
        with case.pruned(), torch.no_grad():
            expected = case.model(**batched(case.prompts)).logits
        with case.pruned(wrapper) as pruning, torch.no_grad():
            assert torch.equal(wrapper(**batched(case.prompts)).logits, expected)
        assert len(pruning.prefills) == 1
    peft = pytest.importorskip("peft")
    torch.manual_seed(1)
    lora = peft.LoraConfig(target_modules=r".*language_model.*(q_proj|v_proj)", init_lora_weights=False)
    adapted = peft.get_peft_model(case.fresh(), lora).eval()
    ours, kept = case.run(case.prompts, adapted)
    merged = adapted.merge_and_unload()
    theirs, expected_kept = case.run(case.prompts, merged)
    assert [row.kept for row in kept.rows] == [row.kept for row in expected_kept.rows]
    torch.testing.assert_close(logits(ours), logits(theirs), **CLOSE)
    assert not torch.allclose(logits(ours), logits(plain), atol=1e-2)


class _Own(torch.nn.Module):
    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner, self.config = inner, inner.config

    def forward(self, **inputs: Any) -> Any:
        return self.inner(**inputs)

    def generate(self, **inputs: Any) -> Any:
        return self.inner.generate(**inputs)


def nothing_after_the_image(case: Case) -> None:
    """There is no question to read, and the answer would start from what may be dropped."""
    end = [cut_after_image(case, prompt) for prompt in case.prompts[:2]]
    for prompts in (end[:1], [case.prompts[2], end[1]]):
        row = len(prompts) - 1
        with case.pruned(), pytest.raises(UsageError, match=f"prompt of row {row} ends with a visual token"):
            generate(case.model, batched(prompts))
    with tokenbench.pruned(case.model, "vanilla"):
        kept = generate(case.model, end[0])
    assert torch.equal(logits(kept), logits(generate(case.model, end[0])))
    one_word = [cut_after_image(case, case.prompts[0], extra=1)]
    output, pruning = case.run(one_word)
    case.equals_stock(output, pruning, one_word)


def two_at_once(case: Case) -> None:
    """Nested, or from another thread: refused, and the first goes on. Threads inside one context: each as if alone."""
    model = case.fresh()
    alone = [case.run([prompt], model)[0].sequences for prompt in case.prompts]
    found: dict[int, Any] = {}

    def generating(b: int) -> None:
        found[b] = [generate(model, case.prompts[b]).sequences for _ in range(2)]

    def pruning_too() -> None:
        with pytest.raises(UsageError, match="already being pruned"), case.pruned(model):
            pass
        found[-1] = True

    with case.pruned(model) as outer:
        with pytest.raises(UsageError, match="already being pruned"), tokenbench.pruned(model, "divprune"):
            pass
        threads = [Thread(target=generating, args=(b,)) for b in range(3)] + [Thread(target=pruning_too)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found.pop(-1)
    assert len(found) == 3
    assert all(torch.equal(one, alone[b]) for b, both in found.items() for one in both)
    assert len(outer.prefills) == 6
    assert torch.equal(case.run([case.prompts[0]], model)[0].sequences, alone[0])


def cache_after_the_context(case: Case) -> None:
    """Outside, nobody knows what a pruned KV cache lacks: refused untouched, and right in the next context."""
    prompt, model = case.prompts[0], case.model
    whole, _ = case.run([prompt])
    tokens = whole.sequences[:, -5:]
    with case.pruned(), torch.no_grad():
        cache = kv_cache(model(**prompt, use_cache=True))
    lengths = [layer.keys.shape for layer in cache.layers]
    for _ in range(2):
        with pytest.raises(UsageError, match="KV cache was pruned"), torch.no_grad():
            model(input_ids=tokens[:, :1], past_key_values=cache)
    assert [layer.keys.shape for layer in cache.layers] == lengths
    with case.pruned(), torch.no_grad():
        for step in range(4):
            output = model(input_ids=tokens[:, step : step + 1], past_key_values=cache)
            torch.testing.assert_close(output.logits[:, -1], whole.logits[step + 1], **CLOSE)
    cache.reset()
    with torch.no_grad():
        assert torch.equal(
            model(**prompt, past_key_values=cache).logits, model(**prompt, past_key_values=DynamicCache()).logits
        )


def training(case: Case) -> None:
    """Gradients are those of the stock model that cannot see what was dropped, with checkpointing, too. Labels are refused."""
    prompt = case.prompts[0]
    found: list[dict[str, Tensor]] = []
    for checkpointing in (False, True):
        model = case.fresh().train()
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        with case.pruned(model) as pruning:
            loss = -model(**prompt).logits[0, -1].log_softmax(-1)[7]
        merges = pruning.rows[0].merged
        with pytest.raises(UsageError, match="no gradient flows") if merges else nullcontext():
            loss.backward()
        found.append(_gradients(model))
        with case.pruned(model), pytest.raises(UsageError, match="labels cannot be used"):
            model(**prompt, labels=prompt["input_ids"])
    if merges:
        return
    model = case.fresh().train()
    asked = SimpleNamespace(sequences=longer(prompt, torch.tensor([7]))["input_ids"], logits=[None])
    stock = masked(model, asked, prompt, 0, pruning.rows[0], gradients=True)
    (-stock[-1].log_softmax(-1)[7]).backward()
    expected = _gradients(model)
    for gradients in found:
        assert gradients.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(gradients[name], gradient, atol=1e-4, rtol=1e-3, msg=name)
    labelled = longer(prompt, torch.tensor([7, 8]))
    with tokenbench.pruned(model, "vanilla"):
        ours = model(**labelled, labels=labelled["input_ids"]).loss
    assert torch.equal(ours, model(**labelled, labels=labelled["input_ids"]).loss)


def _gradients(model: Any) -> dict[str, Tensor]:
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


SITUATIONS: list[Callable[[Case], None]] = [
    without_a_cache,
    with_drafts,
    in_pieces,
    wrapped,
    nothing_after_the_image,
    two_at_once,
    cache_after_the_context,
    training,
]


@pytest.mark.parametrize(("strategy", "backbone"), spread(STRATEGIES))
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__)
def test_it_equals_its_oracle_or_is_refused(situation: Callable[[Case], None], strategy: str, backbone: str) -> None:
    situation(Case(backbone, strategy))
