"""What pruned() cannot do right is refused in one clear sentence, and before the model makes an error of its own of it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from transformers import AttentionInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

import tokenbench
from tests.tiny import tiny
from tests.tokenbench.api.test_pruned import longer
from tokenbench import UsageError
from tokenbench.registry.plugins import registry
from tokenbench.testing import CLOSE, Prompt, batched, generate, logits
from tokenbench.testing.oracles import kv_cache

ARCHITECTURES = ("llava", "qwen2.5-vl")
Inside = Callable[[Any, Prompt], object]


def fresh(backbone: str = "llava") -> Any:
    return registry().get("backbones", backbone)().tiny()[0]


def pruned(model: Any, strategy: Any = "fastv", budget: Any = "1/3", **options: Any) -> AbstractContextManager[Any]:
    return tokenbench.pruned(model, strategy, budget, **options)


def embedded(model: Any, prompt: Prompt, start: int = 0) -> dict[str, Any]:
    """The prompt from a column on, as embeddings and without ids."""
    pixels = {name: value for name, value in prompt.items() if value.shape != prompt["input_ids"].shape}
    return {**pixels, "inputs_embeds": model.get_input_embeddings()(prompt["input_ids"][:, start:])}


def embeddings_on_a_cache(model: Any, prompt: Prompt) -> None:
    cache = kv_cache(model(input_ids=prompt["input_ids"][:, :2], use_cache=True))
    model(**embedded(model, prompt, 2), past_key_values=cache)


def with_mask(make: Callable[[int], Any]) -> Inside:
    return lambda model, prompt: model(**{**prompt, "attention_mask": make(prompt["input_ids"].shape[1])})


def whole(n: int) -> torch.Tensor:
    return torch.ones(1, 1, n, n, dtype=torch.bool).tril()


def exported(model: Any, prompt: Prompt) -> None:
    torch.export.export(model, (), dict(prompt), strict=False)


REFUSED: dict[str, tuple[Inside, str]] = {
    "embeddings": (lambda model, prompt: model(**embedded(model, prompt)), "needs input_ids"),
    "embeddings on a cache": (embeddings_on_a_cache, "needs input_ids"),
    "the decoder itself": (
        lambda model, prompt: model.model.language_model(inputs_embeds=embedded(model, prompt)["inputs_embeds"]),
        "the decoder was called with embeddings",
    ),
    "a mask of four dimensions": (with_mask(whole), "2-d attention mask"),
    "masks by kind of layer": (with_mask(lambda n: {"full_attention": whole(n)}), "2-d attention mask"),
    "a static cache": (
        lambda model, prompt: generate(model, prompt, cache_implementation="static"),
        "default dynamic KV cache, not StaticCache",
    ),
    "logits of single columns": (
        lambda model, prompt: model(**prompt, logits_to_keep=torch.tensor([3])),
        "fewer columns than its input",
    ),
    "logits of the image": (
        lambda model, prompt: model(**prompt, logits_to_keep=prompt["input_ids"].shape[1] - 1),
        "fewer columns than its input",
    ),
    "export": (exported, "cannot be traced or exported"),
    "pickle": (lambda model, prompt: pickle.dumps(model), "cannot be pickled while it is being pruned"),
}


@pytest.mark.parametrize("backbone", ARCHITECTURES)
@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_in_words_and_the_context_goes_on(what: str, backbone: str) -> None:
    model, (prompt, *_) = tiny(backbone)
    does, words = REFUSED[what]
    with pruned(model), torch.no_grad():
        expected = model(**prompt).logits
    with pruned(model) as pruning, torch.no_grad():
        with pytest.raises(UsageError, match=words):
            does(model, prompt)
        assert torch.equal(model(**prompt).logits, expected)
    assert len(pruning.prefills) == 1


def test_a_model_whose_encoder_is_listened_to_is_not_pickled_either() -> None:
    model = fresh()
    with pruned(model, "visionzip"), pytest.raises(UsageError, match="cannot be pickled"):
        pickle.dumps(model)
    pickle.dumps(model)


@pytest.mark.parametrize("backbone", ARCHITECTURES)
def test_what_holds_for_every_column_that_is_left_is_answered(backbone: str) -> None:
    """Logits of the question, a step of embeddings, and all of it without pruning."""
    model, (prompt, *_) = tiny(backbone)
    with pruned(model), torch.no_grad():
        output = model(**prompt, use_cache=True)
        torch.testing.assert_close(model(**prompt, logits_to_keep=1).logits, output.logits[:, -1:], **CLOSE)
        step = model.get_input_embeddings()(torch.tensor([[5]]))
        ours = model(inputs_embeds=step, past_key_values=kv_cache(output)).logits
        cache = kv_cache(model(**prompt, use_cache=True))
        assert torch.equal(ours, model(input_ids=torch.tensor([[5]]), past_key_values=cache).logits)
    at = torch.tensor([3])
    with torch.no_grad():
        stock = model(**prompt, logits_to_keep=at).logits
        with pruned(model, "vanilla"):
            assert torch.equal(model(**prompt, logits_to_keep=at).logits, stock)
        # The last call's columns are not the next one's.
        with pruned(model):
            with pytest.raises(UsageError):
                model(**prompt, logits_to_keep=at)
            model.model(**prompt)


def test_answers_that_follow_a_refused_one_are_refused_as_well() -> None:
    """As where options of an answer are scored one after the other: none is taken for a prompt."""
    model, (prompt, *_) = tiny("llava")
    with pruned(model), torch.no_grad():
        model(**prompt)
        for word in (5, 6, 7):
            with pytest.raises(UsageError, match="extends the previous one"):
                model(**longer(prompt, torch.tensor([word])))


@pytest.mark.parametrize("backbone", ARCHITECTURES)
@pytest.mark.parametrize("strategy", ["fastv", "divprune"])
def test_attention_that_changes_inside_is_refused(backbone: str, strategy: str) -> None:
    model, (_, prompts) = fresh(backbone), tiny(backbone)
    stock = logits(generate(model, batched(prompts)))
    with pruned(model, strategy):
        model.set_attn_implementation("eager")
        with pytest.raises(UsageError, match="changed inside pruned"):
            generate(model, batched(prompts))
    model.set_attn_implementation("sdpa")
    assert torch.equal(logits(generate(model, batched(prompts))), stock)


@pytest.mark.parametrize("attention", ["flex_attention", "mine"])
def test_attention_whose_masks_nobody_knows_is_refused(attention: str) -> None:
    model = fresh()
    if attention == "mine":
        AttentionInterface.register("mine", ALL_ATTENTION_FUNCTIONS["sdpa"])
    for part in (model, model.model, model.model.language_model):
        part.config._attn_implementation = attention
    for _ in range(2):
        with (
            pytest.raises(UsageError, match=f"does not support the attention implementation '{attention}'"),
            pruned(model),
        ):
            pass


def test_rows_before_a_prompt_are_refused() -> None:
    model, _ = tiny("llava")
    with pruned(model) as pruning:
        generate(model, {"input_ids": torch.tensor([[5, 6, 7]])})
        with pytest.raises(UsageError, match="no prompt with an image"):
            _ = pruning.rows


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"strategy": registry().get("strategies", "fastv")}, r"strategy: FastV is a class"),
        ({"strategy": None}, "strategy: NoneType None is neither a name nor"),
        ({"strategy": b"fastv"}, "strategy: bytes"),
        ({"budget": "9" * 5000}, "budget '9{60}' is neither"),
        ({"budget": True}, "budget 'True' is neither"),
        ({"seed": None}, "seed: None is not a whole number"),
        ({"seed": 1.5}, "seed: 1.5 is not a whole number"),
        ({"seed": -1}, "seed: -1 is not a whole number"),
        ({"keys": "abc"}, "keys: 'abc' is not a list"),
        ({"keys": []}, r"keys: \[\] is not a list"),
        ({"keys": [1]}, r"keys: \[1\] is not a list"),
        ({"keys": 3}, "keys: 3 is not a list"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words), pruned(tiny("llava")[0], **arguments):
        pass
