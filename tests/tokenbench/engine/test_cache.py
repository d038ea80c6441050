"""The pruned KV cache counts the prompt, in every layer, whatever it stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest
import torch

import tokenbench
from tests.tiny import BACKBONES, tiny
from tokenbench import Budget, Stage, Strategy, View
from tokenbench.engine.cache import PrunedLayer
from tokenbench.engine.segment import Segment
from tokenbench.testing import batched, generate
from tokenbench.testing.oracles import kv_cache


class Twice(Strategy):
    """Halves the tokens before layer 2 and again before layer 4; what went leaves the cache of earlier layers, too."""

    trim: ClassVar[bool] = True

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        return [Stage(2, 0.5), Stage(4, 0.25)]

    def score(self, view: View) -> torch.Tensor:
        return view.alive.float()


@pytest.mark.parametrize("name", BACKBONES)
def test_layers_that_were_pruned_and_then_trimmed_count_the_whole_prompt(name: str) -> None:
    model, prompts = tiny(name)
    with tokenbench.pruned(model, Twice(), 0.5) as pruning:
        output = generate(model, batched(prompts[:1]), tokens=3)
    (row,), prompt = pruning.rows, prompts[0]["input_ids"].shape[1]
    assert row.tokens_per_layer[0] > row.tokens_per_layer[2] > row.tokens_per_layer[4]
    layers = kv_cache(output).layers
    assert [layer.keys.shape[2] for layer in layers] == [row.text + len(row.kept) + 2] * row.depth
    assert [layer.get_seq_length() for layer in layers] == [prompt + 2] * row.depth  # the last token is not fed back


def test_every_trim_adds_to_what_was_dropped() -> None:
    """Of 10 columns 6 are stored, then 4, then 3: it answers 10 all along."""
    layer = PrunedLayer()
    valid = torch.ones(1, 10, dtype=torch.bool)
    keep = torch.tensor([[1, 1, 0, 1, 0, 1, 0, 1, 0, 1]], dtype=torch.bool)
    segment, _ = Segment.whole(valid, [10]).narrow(keep, [6], [False], valid)
    layer.describe(segment, 10, 0)
    states = torch.arange(6.0).view(1, 1, 6, 1)
    layer.update(states, states)
    assert layer.get_seq_length() == 10
    for index in ([0, 2, 3, 5], [1, 2, 3]):
        kept = torch.tensor([index])
        assert layer.columns is not None
        layer.trim(kept, layer.columns.gather(1, kept), torch.ones_like(kept).bool(), padded=False)
        assert layer.get_seq_length() == 10
    assert layer.keys is not None
    assert layer.keys.flatten().tolist() == [2, 3, 5]


def test_a_trimmed_layer_holds_no_room_of_what_it_was() -> None:
    layer, kept = PrunedLayer(), torch.tensor([[1, 4]])
    valid = torch.ones(1, 6, dtype=torch.bool)
    layer.describe(Segment.whole(valid, [6]), 6, 0)
    held = torch.zeros(1, 1, 1000, 1)
    layer.fill(held, held.clone(), 6)
    layer.trim(kept, kept, valid[:, :2], padded=False)
    tensors = [part for part in vars(layer).values() if isinstance(part, torch.Tensor)]
    assert max(part.untyped_storage().nbytes() for part in tensors) < 100
