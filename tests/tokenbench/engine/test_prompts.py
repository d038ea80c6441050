"""Where a prompt ends: outside generate() a forward is a prompt as a whole, and none is taken for another one."""

from __future__ import annotations

from threading import Event, Thread
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, LogitsProcessor

import tokenbench
from tests.tiny import tiny
from tests.tokenbench.api.test_pruned import longer
from tokenbench import UsageError
from tokenbench.engine import call_before
from tokenbench.testing import CLOSE, Prompt, batched, generate, logits
from tokenbench.testing.oracles import kv_cache


def one_more(prompt: Prompt) -> Prompt:
    return longer(prompt, torch.tensor([5]))


@pytest.mark.parametrize("options", [{}, {"use_cache": False}])
def test_a_loop_without_a_cache_is_refused_where_the_choice_reads_the_question(options: dict[str, Any]) -> None:
    model, (prompt, *_) = tiny("llava")
    with tokenbench.pruned(model, "fastv", "1/3"), torch.no_grad():
        model(**prompt, **options)
        with pytest.raises(UsageError, match="extends the previous one"):
            model(**one_more(prompt), **options)
    with tokenbench.pruned(model, "divprune", "1/3") as pruning, torch.no_grad():
        model(**prompt, **options)
        model(**one_more(prompt), **options)
    assert pruning.prefills[0][0].kept == pruning.prefills[1][0].kept


def test_other_prompts_may_follow_each_other() -> None:
    """The same one, a shorter one, another one, and a longer one inside generate()."""
    model, prompts = tiny("llava")
    with tokenbench.pruned(model, "fastv", "1/3") as pruning, torch.no_grad():
        model(**one_more(prompts[0]))
        model(**one_more(prompts[0]))
        for prompt in prompts:
            model(**prompt)
        model(**batched(prompts))
        model(**prompts[0])
        generate(model, one_more(prompts[0]), use_cache=False)
    assert len(pruning.prefills) == 8


def test_an_answer_after_the_prompt_is_one_decode_step_of_many_tokens() -> None:
    """What the refusal of labels recommends: all logits of an answer at once, equal to those token by token."""
    model, (prompt, *_) = tiny("llava")
    answer = torch.tensor([[5, 6, 7, 8]])
    for strategy in ("fastv", "clse", "divprune", "sparsevlm"):
        with tokenbench.pruned(model, strategy, "1/3"), torch.no_grad():
            cache = kv_cache(model(**prompt, use_cache=True))
            together = model(input_ids=answer, past_key_values=cache).logits
            cache, steps = kv_cache(model(**prompt, use_cache=True)), []
            for token in answer.split(1, 1):
                steps.append(model(input_ids=token, past_key_values=cache).logits)
        torch.testing.assert_close(together, torch.cat(steps, 1), **CLOSE)


def test_attention_weights_past_a_prompt_are_refused() -> None:
    model, (prompt, *_) = tiny("llava", "eager")
    with tokenbench.pruned(model, "fastv", "1/3"), pytest.raises(UsageError, match="attention weights"):
        generate(model, prompt, use_cache=False, output_attentions=True)


def test_hidden_states_past_a_prompt_are_those_of_cached_steps() -> None:
    model, (prompt, *_) = tiny("llava")

    def last(output: Any) -> list[Tensor]:
        return [states[-1][:, -1] for states in output.hidden_states]

    with tokenbench.pruned(model, "fastv", "1/3"):
        cached, uncached = (generate(model, prompt, use_cache=use, output_hidden_states=True) for use in (True, False))
    for one, other in zip(last(cached), last(uncached), strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


def test_features_that_were_encoded_before_the_context_are_refused_where_the_encoder_is_asked() -> None:
    model, (prompt, *_) = tiny("llava")
    features = model.get_image_features(prompt["pixel_values"], return_dict=True)
    text = {name: value for name, value in prompt.items() if name != "pixel_values"}
    with tokenbench.pruned(model, "visionzip"), pytest.raises(UsageError, match="did not run inside"):
        model(**text, mm_encoder_outputs={"image": features})


def test_a_context_ends_between_two_forwards_of_another_thread() -> None:
    """As with a streamer whose thread outlives the context: the thread is told."""
    model, (prompt, *_) = tiny("llava")
    inside, left, found = Event(), Event(), []
    with torch.no_grad():
        stock = logits(generate(model, prompt))

    def wait(module: Any, args: Any) -> None:
        inside.set()
        left.wait(0.3)  # the context cannot be left while this forward runs

    def generating() -> None:
        try:
            generate(model, prompt)
        except UsageError as error:
            found.append(str(error))

    thread = Thread(target=generating)
    with tokenbench.pruned(model, "fastv", "1/3") as pruning:
        hook = model.model.language_model.layers[3].register_forward_pre_hook(wait)
        thread.start()
        assert inside.wait(10)
    left.set()
    hook.remove()
    thread.join()
    assert len(pruning.prefills) == 1
    assert len(found) == 1
    assert "KV cache was pruned" in found[0]
    assert torch.equal(logits(generate(model, prompt)), stock)


@pytest.mark.parametrize("strategy", ["fastv", "clse"])
def test_a_pruned_cache_forgets_its_last_tokens(strategy: str) -> None:
    """As after wrong drafts. Words of the prompt go only where earlier layers still hold all they saw."""
    model, (prompt, *_) = tiny("llava")
    length = prompt["input_ids"].shape[1]
    last = prompt["input_ids"][:, -1:]
    tokens = torch.tensor([[5, 6, 7]])

    def step(cache: Any, ids: Tensor) -> Tensor:
        logits: Tensor = model(input_ids=ids, past_key_values=cache).logits[:, -1]
        return logits

    with tokenbench.pruned(model, strategy, "1/3"), torch.no_grad():
        first = model(**prompt, use_cache=True)
        cache = kv_cache(first)
        expected = step(cache, tokens)
        wrong = torch.tensor([[9, 9]])
        cache.crop(-1)
        step(cache, wrong)
        cache.crop(-3)
        assert cache.get_seq_length() == length + 1
        torch.testing.assert_close(step(cache, tokens[:, 1:]), expected, **CLOSE)
        cache.crop(-3)
        assert cache.get_seq_length() == length
        if strategy == "fastv":
            cache.crop(-1)
            assert cache.get_seq_length() == length - 1
            torch.testing.assert_close(step(cache, last), first.logits[:, -1], **CLOSE)
        for too_many in (1, 6) if strategy == "clse" else (6,):
            with pytest.raises(UsageError, match="cannot be cropped"):
                cache.crop(-too_many)


def test_a_context_may_be_entered_again_after_an_error_inside() -> None:
    model, (prompt, *_) = tiny("llava")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), tokenbench.pruned(model, "fastv"):
            _ = 1 / 0
    with tokenbench.pruned(model, "fastv") as pruning:
        generate(model, prompt)
    assert len(pruning.prefills) == 1


@pytest.mark.parametrize("strategy", ["visionzip", "vispruner", "downsample"])
def test_without_a_cache_the_encoder_is_listened_to_once(strategy: str) -> None:
    model, prompts = tiny("qwen2.5-vl")
    found = []
    for use_cache in (True, False):
        with tokenbench.pruned(model, strategy, "1/3") as pruning:
            output = generate(model, batched(prompts), use_cache=use_cache)
        found.append((logits(output), [row.kept for row in pruning.rows]))
    (cached, kept), (uncached, same) = found
    assert kept == same
    torch.testing.assert_close(uncached, cached, **CLOSE)


def test_drafts_of_another_model_change_nothing() -> None:
    model, prompts = tiny("llava")
    config = LlamaConfig(
        vocab_size=96, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, eos_token_id=2
    )
    torch.manual_seed(0)
    assistant = LlamaForCausalLM(config).eval()
    for strategy in ("fastv", "clse", "sparsevlm"):
        with tokenbench.pruned(model, strategy, "1/3") as pruning:
            plain, drafted = (
                generate(model, prompts[0], tokens=8, **more) for more in ({}, {"assistant_model": assistant})
            )
        assert torch.equal(plain.sequences, drafted.sequences)
        assert pruning.prefills[0][0].kept == pruning.prefills[1][0].kept


class Forced(LogitsProcessor):
    """Says these words [n], then goes its own way. start: length of the prompt."""

    def __init__(self, start: int, words: Tensor) -> None:
        self.start, self.words = start, words

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        at = ids.shape[1] - self.start
        if at < len(self.words):
            scores = torch.full_like(scores, -torch.inf)
            scores[:, self.words[at]] = 0
        return scores


def test_drafts_may_hold_visual_tokens() -> None:
    """An answer that repeats the words before the image has image tokens drafted; they are not taken for an image."""
    model, (prompt, *_) = tiny("llava")
    ids = prompt["input_ids"]
    before = ids[0, 1:3]  # the last two words before the image
    widths: list[int] = []
    embed = model.get_input_embeddings()
    found = []
    for options in ({}, {"prompt_lookup_num_tokens": 3}):
        hook = embed.register_forward_pre_hook(lambda module, args: widths.append(args[0].shape[1]))
        with tokenbench.pruned(model, "fastv", "1/3"):
            forced = [Forced(ids.shape[1], before)]
            # Nothing is suppressed: drafts that may not be said are not drafted.
            more = {"max_new_tokens": 7, "min_new_tokens": 7, "do_sample": False, **options}
            found.append(model.generate(**prompt, logits_processor=forced, **more))
        hook.remove()
    assert torch.equal(*found)
    assert 4 in widths[7:]  # one token and three drafts of the image's


def test_a_hook_that_is_taken_away_at_this_moment_does_nothing() -> None:
    """torch then calls it without keyword arguments."""
    module, called = torch.nn.Linear(1, 1), []
    remove = call_before(module, lambda *arguments: called.append(arguments))
    (hook,) = module._forward_pre_hooks.values()
    assert hook(module, (torch.ones(1),)) is None
    assert not called
    module(torch.ones(1))
    assert len(called) == 1
    remove()
    assert not module._forward_pre_hooks
