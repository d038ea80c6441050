"""The last decoder layer of a prompt of which only the next token is wanted runs for the last token alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from tests.tiny import FEW, tiny
from tokenbench import Budget
from tokenbench.engine import RowPlan
from tokenbench.engine.attach import attach
from tokenbench.registry.backbones import backbone_for
from tokenbench.registry.names import parse_strategy
from tokenbench.registry.plugins import registry
from tokenbench.testing import batched, generate, logits
from tokenbench.testing.oracles import Prompt


def answers(
    model: Any, prompts: list[Prompt], strategy: str, first_alike: list[int], next_token_only: bool
) -> tuple[torch.Tensor, list[torch.Size], list[int]]:
    """Logits of four new tokens, the forms of what leaves the layers, from the prefill on, and the lengths of its cache."""
    adapter = backbone_for(model, registry())
    decoder: Any = adapter.decoder(model)
    layers = decoder.layers
    chosen = parse_strategy(strategy, registry()).strategy
    budget = Budget.parse("1/2") if chosen.budgeted else Budget.none()
    rows = [prompts[0], prompts[0], prompts[1]] if first_alike else prompts
    seen: list[torch.Size] = []
    hook = decoder.norm.register_forward_hook(lambda module, args, output: seen.append(output.shape))
    with attach(model, adapter, [RowPlan.make(chosen, budget, len(layers))]) as pruner:
        with pruner.sharing(first_alike, next_token_only=next_token_only):
            output = generate(model, batched(rows), tokens=4)
        lengths = [layer.keys.shape[2] for layer in output.past_key_values.layers if layer.keys is not None]
    hook.remove()
    return logits(output), seen, lengths


@pytest.mark.parametrize("first_alike", [[], [0, 0, 2]], ids=["rows apart", "rows that share a prefix"])
@pytest.mark.parametrize("strategy", ["vanilla", "fastv", "divprune"])
@pytest.mark.parametrize("backbone", FEW)
def test_the_next_token_is_what_the_whole_layer_says(backbone: str, strategy: str, first_alike: list[int]) -> None:
    check(*tiny(backbone), strategy, first_alike)


@pytest.mark.parametrize("strategy", ["vanilla", "divprune"])
def test_a_model_may_add_states_after_its_last_layer(strategy: str) -> None:
    """Qwen3-VL with no more layers in its decoder than depths of its encoder that are added."""
    model, prompts = tiny("qwen3-vl")
    config = copy.deepcopy(model.config)
    config.text_config.num_hidden_layers = 2
    torch.manual_seed(0)
    shallow = type(model)._from_config(config, attn_implementation="sdpa").eval()
    assert len(shallow.base_model.visual.deepstack_merger_list) == len(shallow.base_model.language_model.layers)
    check(shallow, prompts, strategy, [])


def check(model: Any, prompts: list[Prompt], strategy: str, first_alike: list[int]) -> None:
    """Whether answers are the same if the last layer runs for the last token alone."""
    whole, shapes, lengths = answers(model, prompts, strategy, first_alike, False)
    last, fewer, same = answers(model, prompts, strategy, first_alike, True)
    assert shapes[0][1] > 1
    assert fewer[0][1] == 1
    assert lengths == same
    torch.testing.assert_close(last, whole, atol=5e-5, rtol=1e-4)
