"""What strategies may see of the vision encoder, against the stock model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

import tokenbench
from tests.tiny import BACKBONES, tiny
from tokenbench import Attn, Budget, Keep, Selection, Signal, Stage, Strategy, View, testing
from tokenbench.errors import InfeasibleError
from tokenbench.registry.names import parse_strategy
from tokenbench.registry.plugins import registry
from tokenbench.testing import batched, generate

CLOSE: dict[str, Any] = {"atol": 2e-5, "rtol": 1e-4}
SIGNALS = tuple(Signal(kind, layer) for kind in ("cls", "received", "keys", "features") for layer in (-1, -2))


class Look(Strategy):
    """Hands what it sees to a function and keeps everything."""

    see: Callable[[View], None]
    start: float = 0.5

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        return [(1, 1.0)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        return Stage(
            layer, keep, hidden=(0,), keys=(0,), attention=(Attn(0),), signals=SIGNALS, rerun=self.start, pixels=True
        )

    def select(self, view: View) -> Selection:
        self.see(view)
        return Selection(torch.arange(view.n))


def views(
    name: str, rows: slice = slice(None), start: float = 0.5, **options: Any
) -> tuple[Any, Sequence[Any], list[View]]:
    model, prompts = tiny(name)
    seen: list[View] = []
    with tokenbench.pruned(model, Look(see=seen.append, start=start), 0.5):
        generate(model, batched(prompts[rows]), tokens=1, **options)
    return model, prompts, seen


@pytest.mark.parametrize("name", BACKBONES)
def test_projected_features_are_what_the_decoder_gets(name: str) -> None:
    for view in views(name)[2]:
        torch.testing.assert_close(view.project(view.signals[Signal("features")]), view.hidden[0], **CLOSE)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("start", [0.0, 0.5])
def test_running_the_encoder_again_without_merging_changes_nothing(name: str, start: float) -> None:
    for view in views(name, start=start)[2]:
        found = []
        for frame in view.frames:
            rerun = frame.rerun(start)
            while rerun.remaining:
                products = rerun.step()
                assert products.shape == (1 + frame.tokens, frame.tokens)
            found.append(rerun.features())
        torch.testing.assert_close(torch.cat(found), view.signals[Signal("features")], **CLOSE)


def test_the_cls_of_the_encoder_is_that_of_the_stock_tower() -> None:
    """It can be read by itself, and be a token among others, in any order."""
    model, prompts, seen = views("llava")
    with torch.no_grad():
        output = model.base_model.vision_tower(batched(prompts)["pixel_values"], output_hidden_states=True)
    states = output.hidden_states[model.config.vision_feature_layer]
    frames = [frame for view in seen for frame in view.frames]
    for frame, expected in zip(frames, states, strict=True):
        torch.testing.assert_close(frame.cls_features(), expected[0], **CLOSE)
        rerun = frame.rerun(0.5, cls=True)
        while rerun.remaining:
            products = rerun.step()
            assert products.shape == (2 + frame.tokens, 1 + frame.tokens)
            assert torch.equal(products[0], products[1])
            rerun.keep(torch.arange(len(rerun.alive)).flip(0), rerun.states.flip(0))
        torch.testing.assert_close(rerun.features(), expected[rerun.alive], **CLOSE)


@pytest.mark.parametrize("name", ["qwen2-vl", "video-llava"])
def test_an_encoder_without_a_cls_of_its_own_says_so(name: str) -> None:
    frame = views(name)[2][0].frames[-1]
    with pytest.raises(InfeasibleError, match="has none besides its visual tokens"):
        frame.cls_features()
    with pytest.raises(InfeasibleError, match="has none besides its visual tokens"):
        frame.rerun(0.5, cls=True)


@pytest.mark.parametrize("name", ["ficoco-v:released=yes", "visionzip:released=yes"])
def test_methods_that_keep_the_cls_run_on_the_stock_tower(name: str) -> None:
    testing.check_strategy(parse_strategy(name, registry()).strategy, tiny("llava"))


@pytest.mark.parametrize("name", BACKBONES)
def test_a_frame_shrunk_to_its_own_size_is_itself(name: str) -> None:
    for view in views(name)[2]:
        lattices = [grid for grid, _ in view.lattices()]
        found = [frame.encode_resized(grid.h, grid.w) for frame, grid in zip(view.frames, lattices, strict=True)]
        torch.testing.assert_close(torch.cat(found), view.hidden[0], **CLOSE)
        smaller = view.frames[0].encode_resized(1, 2)
        assert smaller.shape == (lattices[0].num_prefix_tokens + 2, view.hidden[0].shape[1])


@pytest.mark.parametrize("name", BACKBONES)
def test_a_batch_sees_what_its_rows_see_alone(name: str) -> None:
    together = views(name)[2]
    for b, view in enumerate(together):
        ((alone),) = views(name, slice(b, b + 1))[2]
        for request in SIGNALS:
            torch.testing.assert_close(view.signals[request], alone.signals[request], **CLOSE)


def test_attention_of_cls_is_eager_attention() -> None:
    _, prompts, seen = views("llava")
    eager, _ = tiny("llava", "eager")
    with torch.no_grad():
        vision = eager.base_model.vision_tower
        weights = vision(batched(prompts)["pixel_values"], output_attentions=True).attentions
    for layer in (-1, -2):
        mean = weights[layer].mean(1)
        found = torch.cat([view.signals[Signal("cls", layer)] for view in seen])
        torch.testing.assert_close(found, mean[:, 0, 1:].flatten(), **CLOSE)
        found = torch.cat([view.signals[Signal("received", layer)] for view in seen])
        torch.testing.assert_close(found, 17 * mean.mean(1)[:, 1:].flatten(), **CLOSE)


@pytest.mark.parametrize("name", ["qwen2-vl", "qwen2.5-vl"])
def test_without_a_cls_attention_received_stands_in(name: str) -> None:
    for view in views(name)[2]:
        assert torch.equal(view.signals[Signal("cls")], view.signals[Signal("received")])


@pytest.mark.parametrize("name", BACKBONES)
def test_beams_share_what_the_encoder_saw(name: str) -> None:
    _, _, seen = views(name, slice(0, 2), num_beams=2)
    alone = views(name, slice(0, 2))[2]
    for view, other in zip(seen, [one for one in alone for _ in range(2)], strict=True):
        torch.testing.assert_close(view.signals[Signal("cls")], other.signals[Signal("cls")], **CLOSE)


@pytest.mark.parametrize("name", BACKBONES)
def test_keys_are_those_of_the_cache(name: str) -> None:
    model, prompts = tiny(name)
    seen: list[View] = []
    with tokenbench.pruned(model, Look(see=seen.append), 0.5) as pruning:
        output = generate(model, prompts[0], tokens=1)
    stored = output.past_key_values.layers[0].keys[0].transpose(0, 1).flatten(1)
    ids = prompts[0]["input_ids"]
    visual = tokenbench.registry.backbones.backbone_for(model, tokenbench.registry.plugins.registry()).visual(
        model, ids
    )[0]
    assert torch.equal(seen[0].keys[0], stored[visual])
    assert torch.equal(seen[0].text_keys[0], stored[int(visual.nonzero()[-1]) + 1 :])
    assert pruning.rows[0].mean_tokens == int(visual.sum())
