"""Video-LLaVA: eight frames of one clip, each with its [CLS] in the sequence; and images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from tokenbench import Grid, UsageError
from tokenbench.contract.backbone import Encoder, runs
from tokenbench_backbones import dummy_inputs
from tokenbench_backbones.llava import Llava, describe_clip

__all__ = ["VideoLlava"]


class VideoLlava(Llava):
    """VideoLlavaForConditionalGeneration: a clip is 8 x (1 + 256) = 2,056 tokens, an image 256.

    The [CLS] of a frame leads its 16 x 16 lattice. Published ports count 8 x 256 = 2,048 tokens, which moves the
    lattice by one more token with every frame; here it is where the model has it.
    """

    model_types: ClassVar[tuple[str, ...]] = ("video_llava",)

    def grids(
        self, model: Any, input_ids: Tensor, positions: Tensor | None, embeddings: Tensor | None = None
    ) -> list[tuple[Grid, ...]]:
        """The lattices of images and clips, told apart by their tokens."""
        ids, visual = input_ids.cpu(), self.visual(model, input_ids).cpu()
        return [
            tuple(grid for start, count in runs(row, mask) for grid in _lattices(model.config, int(row[start]), count))
            for row, mask in zip(ids, visual, strict=True)
        ]

    def encode_images(self, model: Any, inputs: Any) -> list[Tensor]:
        """Features [tokens, C] of every image, or of every clip with all its frames."""
        features = super().encode_images(model, inputs)
        if "pixel_values_videos" not in inputs:
            return features
        frames = inputs["pixel_values_videos"].shape[1]
        return [torch.cat(features[at : at + frames]) for at in range(0, len(features), frames)]

    def describe_towers(self, model: Any) -> Sequence[Encoder]:
        """Describe the CLIP towers of images and of videos."""
        full = model.config.vision_feature_select_strategy != "default"
        towers = model.base_model.image_tower, model.base_model.video_tower
        return [describe_clip(model, tower, kept) for tower, kept in zip(towers, (full, True), strict=True)]

    def as_stock_output(self, model: Any, features: list[Tensor]) -> Any:
        """All features in one row, which the model flattens anyway."""
        together: Any = torch.cat(features).unsqueeze(0)  # the model flattens images, frames and tokens
        return BaseModelOutputWithPooling(pooler_output=together)

    def default_grids(self, config: Any, tokens: int | None = None) -> tuple[Grid, ...]:
        """One clip of eight frames, or as many frames as `tokens` visual tokens fill."""
        return tuple(_lattices(config, config.video_token_id, tokens or 8 * (1 + _side(config) ** 2)))

    def dummy_inputs(self, config: Any, grids: Sequence[Grid], text: int) -> dict[str, Tensor]:
        """One row of random words with a random clip."""
        (clip,), side = grids, config.vision_config.image_size
        pixels = dummy_inputs.noise(1, clip.t, 3, side, side)
        return {
            **dummy_inputs.prompt(config, [config.video_token_id] * clip.tokens, text),
            "pixel_values_videos": pixels,
        }

    def tiny(self, attention: str = "sdpa") -> tuple[Any, list[dict[str, Tensor]]]:
        """A small random Video-LLaVA and its prompts."""
        from tokenbench_backbones import tiny

        return tiny.video_llava(attention)


def _lattices(config: Any, token: int, count: int) -> list[Grid]:
    """The lattices of `count` tokens of one kind in a row."""
    side = _side(config)
    video = token == config.video_token_id
    num_prefix_tokens = int(video or config.vision_feature_select_strategy != "default")
    one = Grid(1, side, side, num_prefix_tokens)
    if count % one.tokens:
        what = "per frame" if video else "per image"
        raise UsageError(f"this model has {one.tokens} visual tokens {what}, but the prompt has {count} in a row")
    each = count // one.tokens
    return [Grid(each, side, side, num_prefix_tokens)] if video else [one] * each


def _side(config: Any) -> int:
    """Patches along a side of a frame."""
    side: int = config.vision_config.image_size // config.vision_config.patch_size
    return side
