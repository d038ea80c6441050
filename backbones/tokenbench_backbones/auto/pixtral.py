"""Pixtral's vision encoder in Mistral 3: pictures of any size in one packed sequence, four patches to a visual token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tokenbench import Grid, UsageError
from tokenbench.contract.backbone import Encoder, FrameLayout
from tokenbench.contract.sizes import EncoderSize
from tokenbench_backbones import dummy_inputs, sizes
from tokenbench_backbones.auto.costs import count_matrices
from tokenbench_backbones.llava import resize
from tokenbench_backbones.qwen_vl import squarest

__all__ = ["Pixtral"]

BREAK, END = 12, 13
"""What Pixtral's tokenizer puts between the rows of an image, and behind the last."""
TYPICAL = 1024
"""Pixels along each side of a common image."""


@dataclass(frozen=True)
class Pixtral:
    """The encoder of Mistral 3."""

    def describe(self, model: Any) -> Sequence[Encoder]:
        """Describe the encoder of a stock model."""
        base, side = model.base_model, model.config.spatial_merge_size
        tower, projector = base.vision_tower, base.multi_modal_projector
        layers, patch = list(tower.transformer.layers), tower.patch_size
        depth = range(len(layers) + 1)[model.config.vision_feature_layer]

        def layouts(pixel_values: Tensor, image_sizes: Any, **_: Any) -> list[FrameLayout]:
            found = []
            for picture, (height, width) in zip(pixel_values, torch.as_tensor(image_sizes).tolist(), strict=True):
                h, w = height // patch, width // patch
                numbers = torch.arange(h * w).view(h // side, side, w // side, side)
                tokens = numbers.transpose(1, 2).reshape(-1, side**2)
                found.append(FrameLayout(h * w, tokens, picture[None, :, :height, :width]))
            return found

        def project(states: Tensor) -> Tensor:
            merger, normed = projector.patch_merger, projector.norm(states)
            merged = merger.merging_layer(
                normed.transpose(1, 2).flatten(1)
            )  # channel by channel, as stock code unfolds
            projected: Tensor = projector.linear_2(projector.act(projector.linear_1(merged)))
            return projected

        def encode_resized(pixels: Tensor, h: int, w: int) -> Tensor:
            smaller = resize(pixels, h * side * patch, w * side * patch)
            # `forward` is called directly, so that hooks on the tower do not fire.
            states = tower.forward(smaller, output_hidden_states=True).hidden_states[depth][0]
            squares = states.view(len(pixels), h, side, w, side, -1).transpose(2, 3)
            return project(squares.reshape(-1, side**2, states.shape[-1]))

        return [
            Encoder(
                tower=tower,
                layers=layers,
                attentions=[layer.attention for layer in layers],
                depth=depth,
                cls=False,
                batched=True,
                layouts=layouts,
                project=project,
                encode_resized=encode_resized,
            )
        ]

    def size(self, config: Any, model: Any) -> EncoderSize:
        """Sizes from the configuration."""
        vision = config.vision_config
        return EncoderSize(
            layers=vision.num_hidden_layers,
            width=vision.hidden_size,
            mlp_width=vision.intermediate_size,
            mlp_matrices=sizes.GATED,
            patch=vision.num_channels * vision.patch_size**2,
            merge=config.spatial_merge_size,
            projector=count_matrices(model.base_model.multi_modal_projector),
        )

    def default_grids(self, config: Any, tokens: int | None) -> tuple[Grid, ...]:
        """One image of 1,024 x 1,024 pixels, or the squarest lattice of `tokens` visual tokens.

        Raises:
            UsageError: If that lattice would be a single row, which cannot be told from any other tokens.
        """
        side = round(TYPICAL / (config.vision_config.patch_size * config.spatial_merge_size))
        h, w = squarest(tokens or side**2)
        if h == 1:
            raise UsageError(f"no image of this model has {tokens} visual tokens in more than one row")
        return (Grid(1, h, w),)

    def dummy_inputs(self, config: Any, grids: Sequence[Grid], text: int) -> dict[str, Tensor]:
        """One row of random words with random images."""
        image, side = config.image_token_id, config.vision_config.patch_size * config.spatial_merge_size
        shown = [
            token
            for grid in grids
            for i in range(grid.h)
            for token in (*[image] * grid.w, END if i + 1 == grid.h else BREAK)
        ]
        height, width = (side * max(lengths) for lengths in zip(*((grid.h, grid.w) for grid in grids), strict=True))
        return {
            **dummy_inputs.prompt(config, shown, text),
            "pixel_values": dummy_inputs.noise(len(grids), 3, height, width),
            "image_sizes": torch.tensor([(grid.h * side, grid.w * side) for grid in grids]),
        }
