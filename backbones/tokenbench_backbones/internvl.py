"""InternVL (2.5 and 3, the transformers classes): tiles of an image and its thumbnail are images of their own."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from tokenbench import Backbone, Grid
from tokenbench.contract.backbone import Encoder, FrameLayout
from tokenbench.contract.sizes import ModelSize
from tokenbench_backbones import dummy_inputs, sizes
from tokenbench_backbones.llava import repeat_grid, repeat_grids, resize

__all__ = ["InternVL"]


class InternVL(Backbone):
    """InternVLForConditionalGeneration: every tile, thumbnail or video frame is one square lattice after pixel shuffle."""

    model_types: ClassVar[tuple[str, ...]] = ("internvl",)
    tiled: ClassVar[bool] = True

    def grids(
        self, model: Any, input_ids: Tensor, positions: Tensor | None, embeddings: Tensor | None = None
    ) -> list[tuple[Grid, ...]]:
        """One square lattice for every tile, thumbnail or video frame."""
        return repeat_grids(self.visual(model, input_ids), _tile(model.config), "image tile")

    def encode_images(self, model: Any, inputs: Any) -> list[Tensor]:
        """Features [tokens, C] of every image with all its tiles, or of every clip with all its frames."""
        pixels = inputs.get("pixel_values_videos", inputs.get("pixel_values"))
        if pixels.ndim == 5:  # videos: every frame is a tile
            tiles = [pixels.shape[1]] * pixels.shape[0]
            pixels = pixels.flatten(0, 1)
        else:
            tiles = torch.as_tensor(inputs["num_patches"]).tolist() if "num_patches" in inputs else [1] * len(pixels)
        features: Tensor = model.base_model.get_image_features(pixel_values=pixels, return_dict=True).pooler_output
        return [item.flatten(0, 1) for item in features.split(tiles)]

    def describe_towers(self, model: Any) -> Sequence[Encoder]:
        """Describe the InternViT tower, whose [CLS] the decoder does not see."""
        base, tower = model.base_model, model.base_model.vision_tower
        layers, patch = list(tower.encoder.layer), model.config.vision_config.patch_size
        feature_layer, ratio = model.config.vision_feature_layer, model.config.downsample_ratio
        last = feature_layer == -1

        def tokens(h: int, w: int) -> Tensor:
            """[tokens, patches] positions of h x w patches behind the [CLS], as pixel shuffle puts them together."""
            numbers = torch.arange(1.0, h * w + 1).reshape(1, h, w, 1)
            shuffled: Tensor = base.pixel_shuffle(numbers, ratio)
            return shuffled.reshape(-1, shuffled.shape[-1]).long()

        def layouts(pixel_values: Tensor, **options: Any) -> list[FrameLayout]:
            h, w = (size // side for size, side in zip(pixel_values.shape[2:], patch, strict=True))
            return [FrameLayout(1 + h * w, tokens(h, w), frame) for frame in pixel_values.split(1)]

        def project(states: Tensor) -> Tensor:
            normed = tower.layernorm(states) if last else states
            projected: Tensor = base.multi_modal_projector(normed.flatten(1))
            return projected

        def encode_resized(pixels: Tensor, h: int, w: int) -> Tensor:
            side = round(1 / ratio)
            smaller = resize(pixels, h * side * patch[0], w * side * patch[1])
            # `forward` is called directly, so that hooks on the tower do not fire.
            hidden = tower.forward(smaller, output_hidden_states=True).hidden_states[feature_layer]
            return project(hidden[:, tokens(h * side, w * side).to(hidden.device)].flatten(0, 1))

        return [
            Encoder(
                tower=tower,
                layers=layers,
                attentions=[layer.attention for layer in layers],
                depth=range(len(layers) + 1)[feature_layer],
                cls=True,
                batched=True,
                layouts=layouts,
                project=project,
                encode_resized=encode_resized,
            )
        ]

    def as_mm_encoder_outputs(self, model: Any, features: Sequence[tuple[str, Tensor]]) -> dict[str, Any]:
        """Features of images and clips alike go in as those of images."""
        return {"image": self.as_stock_output(model, [item for _, item in features])}

    def as_stock_output(self, model: Any, features: list[Tensor]) -> Any:
        """The features of all tiles, [tiles, tokens of a tile, C]."""
        tiles: Any = torch.cat(features).unflatten(0, (-1, model.config.image_seq_length))
        return BaseModelOutputWithPooling(pooler_output=tiles)

    def size(self, config: Any) -> ModelSize:
        """Sizes of an InternViT encoder with pixel shuffle, and of its decoder."""
        return sizes.internvl(config)

    def default_grids(self, config: Any, tokens: int | None = None) -> tuple[Grid, ...]:
        """One tile, or as many tiles as `tokens` visual tokens fill."""
        tile = _tile(config)
        return repeat_grid(tile, tokens or tile.tokens, "image tile")

    def dummy_inputs(self, config: Any, grids: Sequence[Grid], text: int) -> dict[str, Tensor]:
        """One row of random words with random tiles."""
        shown = [config.image_token_id] * sum(grid.tokens for grid in grids)
        pixels = dummy_inputs.noise(len(grids), 3, *config.vision_config.image_size)
        return {**dummy_inputs.prompt(config, shown, text), "pixel_values": pixels}

    def tiny(self, attention: str = "sdpa") -> tuple[Any, list[dict[str, Tensor]]]:
        """A small random InternVL and its prompts."""
        from tokenbench_backbones import tiny

        return tiny.internvl(attention)


def _tile(config: Any) -> Grid:
    side = isqrt(config.image_seq_length)
    return Grid(1, side, side)
