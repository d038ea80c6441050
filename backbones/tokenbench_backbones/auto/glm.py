"""The vision encoder of GLM-4V and its successors: that of Qwen2-VL, with a convolution before the merger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from torch import Tensor

from tokenbench import Backbone, Grid
from tokenbench.contract.sizes import EncoderSize
from tokenbench_backbones import sizes
from tokenbench_backbones.auto.costs import count_matrices
from tokenbench_backbones.auto.encoders import Like
from tokenbench_backbones.qwen_vl import Qwen2VL

__all__ = ["Glm"]


class _Glm4V(Qwen2VL):
    """What differs from Qwen2-VL."""

    def project(self, tower: Any, states: Tensor) -> Tensor:
        """The norm, the convolution over the patches of a token, and the merger."""
        side = tower.spatial_merge_size
        normed = tower.post_layernorm(states).unflatten(1, (side, side)).permute(0, 3, 1, 2)
        projected: Tensor = tower.merger(tower.downsample(normed).flatten(1))
        return projected

    def grid_thw(self, count: int, h: int, w: int) -> list[tuple[int, int, int]]:
        """One by one: the tower knows no clips."""
        return [(1, h, w)] * count

    def dummy_inputs(self, config: Any, grids: Sequence[Grid], text: int) -> dict[str, Tensor]:
        """As Qwen2-VL's, with the marks that GLM has around images."""
        marks = {"vision_start_token_id": config.image_start_token_id, "vision_end_token_id": config.image_end_token_id}
        known = {name: getattr(config, name) for name in ("image_token_id", "video_token_id", "vision_config")}
        return super().dummy_inputs(SimpleNamespace(**known, **marks), grids, text)


@dataclass(frozen=True)
class Glm(Like):
    """The encoder of the GLM-4V family."""

    adapter: type[Backbone] = _Glm4V
    """What describes the encoder."""

    def size(self, config: Any, model: Any) -> EncoderSize:
        """Sizes read from the modules."""
        vision, tower = config.vision_config, model.base_model.visual
        return EncoderSize(
            layers=vision.depth,
            width=vision.hidden_size,
            mlp_width=tower.blocks[0].mlp.down_proj.in_features,
            mlp_matrices=sizes.GATED,
            patch=vision.in_channels * vision.temporal_patch_size * vision.patch_size**2,
            merge=vision.spatial_merge_size,
            projector=count_matrices(tower.merger) + count_matrices(tower.downsample),
        )
