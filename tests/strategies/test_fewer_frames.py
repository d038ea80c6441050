"""Fewer frames: what a pruned model answers is what the stock model answers on a clip of these frames alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import tokenbench
from tests.strategies.views import make_view
from tests.tiny import tiny
from tokenbench import Budget, Grid, Stage
from tokenbench.contract.cells import is_trivial
from tokenbench.engine import RowPlan
from tokenbench.engine.attach import attach
from tokenbench.registry.backbones import backbone_for
from tokenbench.registry.plugins import registry
from tokenbench.testing import generate, logits
from tokenbench.testing.oracles import assert_close
from tokenbench_backbones.tiny import END, IMAGE, START, VIDEO
from tokenbench_strategies.fewer_frames import FewerFrames, keep_frames


@given(st.integers(1, 12), st.integers(1, 7), st.integers(0, 90))
def test_it_keeps_as_many_whole_frames_as_fit(frames: int, places: int, k: int) -> None:
    clip = torch.arange(frames * places).view(frames, places)
    kept = keep_frames(clip, k).tolist()
    assert len(kept) == len(set(kept)) <= k
    assert kept == sorted(kept)
    if k >= places:
        shown = sorted({token // places for token in kept})
        assert len(shown) == min(frames, k // places) == len(kept) // places  # whole, and not one more would fit
        gaps = [b - a for a, b in zip([-1 - shown[0], *shown], [*shown, 2 * frames - 1 - shown[-1]], strict=True)]
        assert max(gaps) <= 2 * -(-frames // len(shown))
    else:
        assert len(kept) == k
        assert {token // places for token in kept} <= {frames // 2}


def test_by_hand() -> None:
    grids = (Grid(4, 1, 2, num_prefix_tokens=1), Grid(1, 2, 3))
    view = make_view(Stage(0, 9, lattice=True, at_most=True), 18, 9, grids=grids)
    # Shares of 6 and 3 tokens: the second and the last frame; three tokens of the image.
    assert FewerFrames().select(view).keep.tolist() == [3, 4, 5, 9, 10, 11, 12 + 1, 12 + 3, 12 + 5]


def test_reports_treat_it_as_a_trivial_baseline() -> None:
    assert is_trivial("fewer-frames")
    assert is_trivial("fewer-frames#B")


def text(*words: int) -> Tensor:
    return torch.tensor([[*words]])


def test_video_llava_answers_as_on_the_shorter_clip() -> None:
    model, (prompt, *_) = tiny("video-llava")
    with tokenbench.pruned(model, "fewer-frames", 14) as pruning:
        pruned = logits(generate(model, prompt, tokens=4))
    (row,) = pruning.rows
    assert row.kept == [*range(5, 10), *range(15, 20)]  # frames 1 and 3 of 4
    ids = prompt["input_ids"]
    dropped = (ids == VIDEO).nonzero()[10:, 1]
    stay = [column for column in range(ids.shape[1]) if column not in dropped.tolist()]
    short = {
        "input_ids": ids[:, stay],
        "attention_mask": prompt["attention_mask"][:, stay],
        "pixel_values_videos": prompt["pixel_values_videos"][:, [1, 3]],
    }
    assert_close(pruned, logits(generate(model, short, tokens=4)))


def test_internvl_answers_as_on_the_shorter_clip() -> None:
    """Its frames look like images in the prompt: the runner says that they are a clip."""
    model, _ = tiny("internvl")
    pixels = torch.randn(5, 3, 24, 24, generator=torch.Generator().manual_seed(1))

    def prompt(frames: list[int]) -> dict[str, Tensor]:
        ids = text(5, 6, *[token for frame in range(len(frames)) for token in [IMAGE] * 9], 7, 8)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels[frames]}

    plan = RowPlan.make(FewerFrames(), Budget.parse("20"), len(model.base_model.language_model.layers))
    with attach(model, backbone_for(model, registry()), [plan]) as pruner:
        pruner.clips = [True]
        pruned = logits(generate(model, prompt([0, 1, 2, 3, 4]), tokens=4))
    assert_close(pruned, logits(generate(model, prompt([1, 3]), tokens=4)))


@pytest.mark.parametrize("backbone", ["qwen2-vl", "qwen2.5-vl", "qwen3-vl"])
def test_qwen_answers_as_on_the_shorter_clip_with_every_frame_at_its_own_time(backbone: str) -> None:
    model, _ = tiny(backbone)
    vision, (t, h, w) = model.config.vision_config, (5, 2, 3)
    split = backbone == "qwen3-vl"  # every frame between marks of its own
    shown = [START, *[VIDEO] * (h * w), END, 9] * t if split else [START, *[VIDEO] * (t * h * w), END]
    ids = text(5, 6, *shown, 7, 8, 11)
    patches = torch.randn(
        t * 4 * h * w,
        3 * vision.temporal_patch_size * vision.patch_size**2,
        generator=torch.Generator().manual_seed(2),
    )
    types = 2 * (ids == VIDEO).int()

    def clip(count: int) -> dict[str, Any]:
        return {"video_grid_thw": torch.tensor([[count, 2 * h, 2 * w]])}

    whole = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": types, **clip(t)}
    with tokenbench.pruned(model, "fewer-frames", 2 * h * w + 1) as pruning:
        pruned = logits(generate(model, {**whole, "pixel_values_videos": patches}, tokens=1))
    (row,) = pruning.rows
    frames = [1, 3]
    assert row.kept == [frame * h * w + place for frame in frames for place in range(h * w)]
    positions, _ = model.model.get_rope_index(**whole)
    gone = [column for at, column in enumerate((ids == VIDEO).nonzero()[:, 1].tolist()) if at // (h * w) not in frames]
    stay = [column for column in range(ids.shape[1]) if column not in gone]
    stock = model(
        input_ids=ids[:, stay],
        attention_mask=torch.ones(1, len(stay), dtype=torch.long),
        mm_token_type_ids=types[:, stay],
        position_ids=positions[:, :, stay],
        pixel_values_videos=patches.view(t, 4 * h * w, -1)[frames].flatten(0, 1),
        **clip(len(frames)),
    ).logits[:, -1]
    assert_close(pruned[0], stock)
