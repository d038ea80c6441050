"""What one prompt really cost, against torch's own count of the stock layers that a method runs besides the prefill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.tiny import BACKBONES, tiny
from tokenbench import Budget, NoQuestionAttn, OwnLayerAttn, Stage, Strategy, View, pruned
from tokenbench.contract.sizes import ModelSize
from tokenbench.cost.macs import encoder_macs, flops, prefill_macs
from tokenbench.cost.realised import realised_flops
from tokenbench.engine import RowTrace
from tokenbench.registry.backbones import backbone_for
from tokenbench.registry.plugins import registry
from tokenbench.testing import batched, generate


class OwnLayer(Strategy):
    """Asks two stages' own layers: the first on all tokens, the second on half of them, for queries of two kinds."""

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        both = (OwnLayerAttn(4), OwnLayerAttn(4, "question"))
        return [Stage(2, 0.5, attention=(OwnLayerAttn(2),)), Stage(4, 0.25, attention=both)]

    def score(self, view: View) -> torch.Tensor:
        return view.alive.float()


class NoQuestion(Strategy):
    """Asks the pass without the question for layer 2, and then for layer 1: it has to run three."""

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        return [Stage(3, 0.5, attention=(NoQuestionAttn(2),)), Stage(4, 0.25, attention=(NoQuestionAttn(1),))]

    def score(self, view: View) -> torch.Tensor:
        return view.alive.float()


def traces(name: str, strategy: Strategy) -> tuple[Any, Sequence[Any], list[RowTrace]]:
    """The decoder, prompts, and the traces of all prompts in one padded batch."""
    model, prompts = tiny(name)
    with pruned(model, strategy, 0.5) as pruning:
        generate(model, batched(prompts), tokens=1)
    return backbone_for(model, registry()), prompts, pruning.rows


def counted(decoder: Any, tokens: int) -> dict[str, int]:
    """FLOPs that torch counts in the stock decoder on so many tokens, by the name of the module within it."""
    width = decoder.config.hidden_size
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False, depth=None) as counter, torch.no_grad():
        decoder(inputs_embeds=torch.zeros(1, tokens, width), use_cache=False)
    own = {name.partition(".")[2]: sum(found.values()) for name, found in counter.get_flop_counts().items()}
    assert own["layers.0.self_attn"] > 0
    return own


def prefill(row: RowTrace, size: ModelSize) -> float:
    """FLOPs of encoder and pruned prefill alone."""
    macs = prefill_macs(size.decoder, row.tokens_per_layer, row.text)
    return flops(macs + encoder_macs(size.encoder, row.grids))


@pytest.mark.parametrize("name", BACKBONES)
def test_a_stage_that_asks_its_own_layer_costs_its_attention_once_more(name: str) -> None:
    """On the tokens that are left then, however many kinds of queries are asked for."""
    backbone, prompts, rows = traces(name, OwnLayer())
    model, _ = tiny(name)
    for prompt, row in zip(prompts, rows, strict=True):
        everything = prompt["input_ids"].shape[1]
        fewer = everything - row.visual + row.tokens_per_layer[2]
        assert row.tokens_per_layer[2] < row.visual
        assert row.repeated_attentions == [everything, fewer]
        more = [
            counted(backbone.decoder(model), tokens)[f"layers.{layer}.self_attn"]
            for layer, tokens in ((2, everything), (4, fewer))
        ]
        size = backbone.size(model.config)
        assert realised_flops(row, size) == prefill(row, size) + sum(more)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_pass_without_the_question_costs_its_layers_on_the_prompt_without_the_question(name: str) -> None:
    """Up to the deepest layer that was asked for; the prompt up to its last visual token, and then its last token."""
    backbone, prompts, rows = traces(name, NoQuestion())
    model, _ = tiny(name)
    for prompt, row in zip(prompts, rows, strict=True):
        visual = backbone.visual(model, prompt["input_ids"])[0].nonzero().flatten()
        tokens = int(visual[-1]) + 1 + 1
        assert (row.no_question_layers, row.no_question_tokens) == (3, tokens)
        own = counted(backbone.decoder(model), tokens)
        size = backbone.size(model.config)
        assert realised_flops(row, size) == prefill(row, size) + sum(own[f"layers.{layer}"] for layer in range(3))
