"""The order of the sequence that a strategy chooses, and the positions that it sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tests.tiny import tiny
from tests.tokenbench.engine.test_oracles import ALL, Compact, close, run
from tokenbench import Attn, Budget, Selection, Stage, View
from tokenbench.registry.backbones import backbone_for
from tokenbench.registry.plugins import registry
from tokenbench.testing import logits, masked


class Backwards(Compact):
    """The same tokens, read by the decoder from the last one to the first."""

    def select(self, view: View) -> Selection:
        return Selection(super().select(view).keep.flip(0))


class BackwardsTwice(Backwards):
    """Backwards, then the half of them that the last token attends to most, which are asked for in any order."""

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        return [Stage(0, 0.5), Stage(3, 0.25, hidden=(0, 2), keys=(1,), attention=(Attn(2),))]

    def score(self, view: View) -> Tensor:
        if view.index == 0:
            return super().score(view)
        assert view.alive.diff().lt(0).all()  # the candidates come in the order of the sequence
        return view.attention[Attn(2)][:, 0].mean(0)


def test_a_strategy_that_renumbers_chooses_the_order_of_the_sequence() -> None:
    model, prompts = tiny("llava")
    for chosen in (prompts[:1], prompts):  # stock, with the positions and the causal mask of that order
        output, rows = run(model, Backwards(), chosen, tokens=3)
        for b, (prompt, row) in enumerate(zip(chosen, rows, strict=True)):
            (_, kept) = row.stages[0]
            assert kept.tolist() == list(range(0, row.visual, 2))[::-1]
            close(logits(output)[:, b], masked(model, output, prompt, b, row))
    forwards, _ = run(model, Compact(), prompts[:1], tokens=1)
    backwards, _ = run(model, Backwards(), prompts[:1], tokens=1)
    assert not torch.allclose(logits(forwards), logits(backwards), atol=1e-4)


def test_later_stages_see_the_tokens_in_the_order_of_the_sequence() -> None:
    model, prompts = tiny("llava")
    seen: list[View] = []

    class Watched(BackwardsTwice):
        def select(self, view: View) -> Selection:
            seen.append(view)
            return super().select(view)

    _, (row,) = run(model, Watched(), prompts[:1], tokens=1)
    late = seen[1]
    embeds: list[Tensor] = []
    hook = model.base_model.language_model.layers[0].register_forward_pre_hook(lambda _, args: embeds.append(args[0]))
    model(**prompts[0])
    hook.remove()
    visual = prompts[0]["input_ids"][0] == model.config.image_token_id
    assert torch.equal(late.hidden[0], embeds[0][0][visual][late.alive])
    best = late.attention[Attn(2)][:, 0].mean(0).topk(len(row.kept)).indices
    assert row.kept == late.alive[best.sort().values].tolist()


@ALL
def test_a_view_shows_positions_and_what_the_rotary_embedding_makes_of_them(backbone: str) -> None:
    model, prompts = tiny(backbone)
    decoder, adapter = backbone_for(model, registry()).decoder(model), backbone_for(model, registry())
    seen: list[View] = []
    stock: list[tuple[Any, Any]] = []

    class Watched(Compact):
        def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
            return [Stage(0, 0.5, positions=True), Stage(2, 0.25, positions=True)]

        def score(self, view: View) -> Tensor:
            seen.append(view)
            return super().score(view)

    def listen(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        stock.append((kwargs["position_ids"] if "position_ids" in kwargs else args[1], output))

    hook = decoder.rotary_emb.register_forward_hook(listen, with_kwargs=True)
    run(model, Watched(), prompts[:1], tokens=1)
    hook.remove()
    (ids, (cos, sin)), (early, late) = stock[0], seen
    visual = adapter.visual(model, prompts[0]["input_ids"])[0]
    after = int(visual.nonzero().max()) + 1
    rows = ids.reshape(-1, ids.shape[-1])
    assert torch.equal(early.positions, rows[:, visual])
    assert torch.equal(early.text_positions, rows[:, after:])
    for made, whole in zip(early.rotary(early.positions), (cos, sin), strict=True):
        close(made, whole[..., visual, :].reshape(made.shape))
    if len(rows) == 1:  # renumbered: what is left follows without gaps
        assert late.positions[0].tolist() == list(range(int(rows[0, visual][0]), int(rows[0, visual][0]) + late.n))
        assert int(late.text_positions[0, 0]) == int(late.positions[0, -1]) + 1
    else:
        assert torch.equal(late.positions, rows[:, visual][:, late.alive])
