"""InternVL (2.5 and 3, the transformers classes): tiles of an image and its thumbnail are images of their own."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from tokenbench import Backbone, Grid
from tokenbench_backbones.llava import equal_grids

__all__ = ["InternVL"]


class InternVL(Backbone):
    """InternVLForConditionalGeneration: every tile, thumbnail or video frame is one square lattice after pixel shuffle."""

    model_types: ClassVar[tuple[str, ...]] = ("internvl",)
    tiled: ClassVar[bool] = True

    def grids(self, model: Any, input_ids: Tensor, positions: Tensor | None) -> list[tuple[Grid, ...]]:
        side = isqrt(model.config.image_seq_length)
        return equal_grids(self.visual(model, input_ids), Grid(1, side, side), "image tile")

    def encode(self, model: Any, inputs: Any) -> list[Tensor]:
        pixels = inputs.get("pixel_values_videos", inputs.get("pixel_values"))
        if pixels.ndim == 5:  # videos: every frame is a tile
            tiles = [pixels.shape[1]] * pixels.shape[0]
            pixels = pixels.flatten(0, 1)
        else:
            tiles = torch.as_tensor(inputs["num_patches"]).tolist() if "num_patches" in inputs else [1] * len(pixels)
        features: Tensor = model.base_model.get_image_features(pixel_values=pixels, return_dict=True).pooler_output
        return [item.flatten(0, 1) for item in features.split(tiles)]

    def encoded(self, model: Any, features: Sequence[tuple[str, Tensor]]) -> dict[str, Any]:
        """Clips go in as images."""
        return {"image": self.output(model, [item for _, item in features])}

    def output(self, model: Any, features: list[Tensor]) -> Any:
        tiles: Any = torch.cat(features).unflatten(0, (-1, model.config.image_seq_length))
        return BaseModelOutputWithPooling(pooler_output=tiles)

    def tiny(self, attention: str = "sdpa") -> tuple[Any, list[dict[str, Tensor]]]:
        from tokenbench_backbones import tiny

        return tiny.internvl(attention)
