"""The forward pass without the question, against the stock model on the prompt without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

import tokenbench
from tests.tiny import BACKBONES, tiny
from tokenbench import Budget, NoQuestionAttn, Selection, Stage, Strategy, View
from tokenbench.registry.backbones import backbone_for
from tokenbench.registry.plugins import registry
from tokenbench.testing import batched, generate

REQUESTS = tuple(NoQuestionAttn(layer) for layer in range(5))


class Ask(Strategy):
    """Drops every other token before layer 1, and hands on what the pass without the question says of layers 0 to 4."""

    batching = "loop"

    see: Callable[[View], None]

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        return [Stage(1, None), Stage(5, None, attention=REQUESTS)]

    def select(self, view: View) -> Selection:
        if view.index == 0:
            return Selection(torch.arange(0, view.n, 2))
        self.see(view)
        return Selection(torch.arange(view.n))


@pytest.mark.parametrize("name", BACKBONES)
def test_it_is_stock_on_the_prompt_up_to_its_visual_tokens_and_then_its_last_token(name: str) -> None:
    """In every layer, with what the model adds between layers (deepstack), and although the prompt itself was pruned."""
    model, prompts = tiny(name)
    eager, _ = tiny(name, "eager")
    seen: list[View] = []
    with tokenbench.pruned(model, Ask(see=seen.append), 0.5):
        generate(model, batched(prompts), tokens=1)
    assert len(seen) == len(prompts)
    for prompt in prompts:
        ids = prompt["input_ids"]
        visual = backbone_for(model, registry()).visual(model, ids)[0].nonzero().flatten()
        # Rows of as many tokens are asked one after the other.
        view = seen.pop(next(i for i, other in enumerate(seen) if other.n0 == len(visual)))
        end = int(visual[-1]) + 1
        assert end < ids.shape[1] - 1, "the prompt has a question to leave out"
        short = {k: torch.cat([v[:, :end], v[:, -1:]], 1) if v.shape == ids.shape else v for k, v in prompt.items()}
        with torch.no_grad():
            stock = eager(**short, output_attentions=True).attentions
        left = visual[view.alive]
        assert len(left) < len(visual)
        for request in REQUESTS:
            found, expected = view.attention[request][:, 0], stock[request.layer][0, :, -1, left]
            torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
