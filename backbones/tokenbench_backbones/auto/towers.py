"""Vision encoders of the SigLIP kind, behind a projector that makes one visual token of one patch or of a square of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tokenbench.contract.backbone import Encoder, FrameLayout
from tokenbench_backbones.llava import resize

__all__ = ["Tower", "describe_tower"]


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
    any_size: bool = False
    """Whether the encoder takes pictures of any size without being asked to interpolate its positions."""


def describe_tower(model: Any, described: Tower) -> Encoder:
    """Describe the encoder of a stock model.

    Args:
        model: The stock model.
        described: What is declared of its architecture.
    """
    tower: Any = getattr(model.base_model, described.name)
    projector = getattr(model.base_model, described.projector)
    layers, patch, side = list(tower.encoder.layers), tower.config.patch_size, described.side(model.config)
    options = {} if described.any_size else {"interpolate_pos_encoding": True}

    def tokens(h: int, w: int) -> Tensor:
        """[n, side * side] the patches of every token of a picture of h x w patches."""
        numbers = torch.arange(h * w).view(h // side, side, w // side, side)
        return numbers.transpose(1, 2).reshape(-1, side**2)

    def layouts(pixel_values: Tensor, **_: Any) -> list[FrameLayout]:
        h, w = (size // patch for size in pixel_values.shape[2:])
        return [FrameLayout(h * w, tokens(h, w), frame) for frame in pixel_values.split(1)]

    def project(states: Tensor) -> Tensor:
        return described.project(projector, tower.post_layernorm(states))

    def encode_resized(pixels: Tensor, h: int, w: int) -> Tensor:
        smaller = resize(pixels, h * side * patch, w * side * patch)
        # `forward` is called directly, so that hooks on the tower do not fire.
        normed = tower.forward(smaller, **options).last_hidden_state
        return described.project(projector, normed[:, tokens(h * side, w * side).to(normed.device)].flatten(0, 1))

    return Encoder(
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
