"""Vision encoders of the SigLIP kind, behind a projector that makes one visual token of one patch or of a square of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tokenbench import Grid
from tokenbench.contract.backbone import Encoder, FrameLayout
from tokenbench.contract.sizes import EncoderSize
from tokenbench_backbones import dummy_inputs, sizes
from tokenbench_backbones.auto.costs import count_matrices
from tokenbench_backbones.llava import repeat_grid, resize

__all__ = ["Tower"]


@dataclass(frozen=True)
class Tower:
    """What differs between architectures with such an encoder."""

    name: str
    """The encoder's name in the base model."""
    projector: str
    """The projector's name in the base model."""
    project: Callable[[Any, Tensor], Tensor]
    """From the projector and the states of whole tokens [m, patches, C], after the encoder's last norm, to
    [m, C of the decoder]."""
    side: Callable[[Any], int] = lambda config: 1
    """From the stock configuration to how many patches along each side become one visual token."""
    tiled: bool = False
    """Whether the pixels of one prompt are [1, tiles, 3, H, W], and not [images, 3, H, W]."""
    normed: bool = True
    """Whether the projector reads the states after the encoder's last norm."""
    any_size: bool = False
    """Whether the encoder takes pictures of any size without being asked to interpolate its positions."""

    def describe(self, model: Any) -> Sequence[Encoder]:
        """Describe the encoder of a stock model."""
        tower: Any = getattr(model.base_model, self.name)
        projector = getattr(model.base_model, self.projector)
        layers, patch, side = list(tower.encoder.layers), tower.config.patch_size, self.side(model.config)
        options = {} if self.any_size else {"interpolate_pos_encoding": True}

        def tokens(h: int, w: int) -> Tensor:
            """[n, side * side] the patches of every token of a picture of h x w patches."""
            numbers = torch.arange(h * w).view(h // side, side, w // side, side)
            return numbers.transpose(1, 2).reshape(-1, side**2)

        def layouts(pixel_values: Tensor, **_: Any) -> list[FrameLayout]:
            h, w = (size // patch for size in pixel_values.shape[2:])
            return [FrameLayout(h * w, tokens(h, w), frame) for frame in pixel_values.split(1)]

        def project(states: Tensor) -> Tensor:
            return self.project(projector, tower.post_layernorm(states) if self.normed else states)

        def encode_resized(pixels: Tensor, h: int, w: int) -> Tensor:
            smaller = resize(pixels, h * side * patch, w * side * patch)
            # `forward` is called directly, so that hooks on the tower do not fire.
            output = tower.forward(smaller, output_hidden_states=True, **options)
            states = output.last_hidden_state if self.normed else output.hidden_states[-1]
            return self.project(projector, states[:, tokens(h * side, w * side).to(states.device)].flatten(0, 1))

        return [
            Encoder(
                tower=tower,
                layers=layers,
                attentions=[layer.self_attn for layer in layers],
                depth=len(layers),
                cls=False,
                batched=True,
                layouts=layouts,
                project=project,
                encode_resized=encode_resized,
            )
        ]

    def size(self, config: Any, model: Any) -> EncoderSize:
        """Sizes read from the modules."""
        vision, projector = config.vision_config, getattr(model.base_model, self.projector)
        layer = getattr(model.base_model, self.name).encoder.layers[0]
        return EncoderSize(
            layers=vision.num_hidden_layers,
            width=vision.hidden_size,
            mlp_width=layer.mlp.fc1.out_features,
            mlp_matrices=sizes.PLAIN,
            patch=vision.num_channels * vision.patch_size**2,
            merge=self.side(config),
            projector=count_matrices(projector),
        )

    def default_grids(self, config: Any, tokens: int | None) -> tuple[Grid, ...]:
        """One tile, or as many tiles as `tokens` visual tokens fill."""
        side = config.vision_config.image_size // config.vision_config.patch_size // self.side(config)
        return repeat_grid(Grid(1, side, side), tokens or side**2, "image")

    def dummy_inputs(self, config: Any, grids: Sequence[Grid], text: int) -> dict[str, Tensor]:
        """One row of random words with random tiles."""
        row = dummy_inputs.prompt(config, [config.image_token_id] * sum(grid.tokens for grid in grids), text)
        side = config.vision_config.image_size
        pixels = dummy_inputs.noise(len(grids), 3, side, side)
        return {**row, "pixel_values": pixels[None] if self.tiled else pixels}
