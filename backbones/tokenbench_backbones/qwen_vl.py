"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: images of any size, M-RoPE, and (Qwen3) deepstack."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from tokenbench import Backbone, Grid, UsageError
from tokenbench.backbone import runs

__all__ = ["Qwen2VL", "Qwen3VL", "Qwen25VL"]


class Qwen2VL(Backbone):
    """Qwen2VLForConditionalGeneration.

    The lattice of an image or video is h x w after the spatial merge, read from its M-RoPE positions.
    """

    model_types: ClassVar[tuple[str, ...]] = ("qwen2_vl",)

    def grids(self, model: Any, input_ids: Tensor, positions: Tensor | None) -> list[tuple[Grid, ...]]:
        if positions is None or positions.ndim != 3:
            raise UsageError("the positions of this prompt have no rows and columns", "pass mm_token_type_ids, too")
        visual = self.visual(model, input_ids)
        return [
            tuple(_lattice(places[:, start : start + count]) for start, count in runs(row, mask))
            for row, mask, places in zip(input_ids, visual, positions.transpose(0, 1), strict=True)
        ]

    def tiny(self, attention: str = "sdpa") -> tuple[Any, list[dict[str, Tensor]]]:
        from tokenbench_backbones import tiny

        return tiny.qwen2_vl(attention)


class Qwen25VL(Qwen2VL):
    """Qwen2_5_VLForConditionalGeneration: windows in the encoder; nothing else that matters here."""

    model_types: ClassVar[tuple[str, ...]] = ("qwen2_5_vl",)

    def tiny(self, attention: str = "sdpa") -> tuple[Any, list[dict[str, Tensor]]]:
        from tokenbench_backbones import tiny

        return tiny.qwen2_5_vl(attention)


class Qwen3VL(Qwen2VL):
    """Qwen3VLForConditionalGeneration: features of three more encoder depths are added after the first three layers.

    A video has a timestamp before every frame: each frame is a lattice of its own.
    """

    model_types: ClassVar[tuple[str, ...]] = ("qwen3_vl",)

    def encode(self, model: Any, inputs: Any) -> list[Tensor]:
        outputs = self.stock_output(model, inputs)
        depths = zip(outputs.pooler_output, *outputs.deepstack_features, strict=True)
        return [torch.cat(features, -1) for features in depths]

    def output(self, model: Any, features: list[Tensor]) -> Any:
        width = model.config.text_config.hidden_size
        depths = [list(depth) for depth in zip(*(item.split(width, -1) for item in features), strict=True)]
        output: Any = BaseModelOutputWithPooling()
        output.pooler_output, output.deepstack_features = depths[0], depths[1:]
        return output

    def tiny(self, attention: str = "sdpa") -> tuple[Any, list[dict[str, Tensor]]]:
        from tokenbench_backbones import tiny

        return tiny.qwen3_vl(attention)


def _lattice(places: Tensor) -> Grid:
    """Of the (t, h, w) positions [3, n] of one image, row by row, frame by frame."""
    h, w = (int(axis.max() - axis.min()) + 1 for axis in places[1:])
    frames, rest = divmod(places.shape[1], h * w)
    if rest:
        raise UsageError(f"{places.shape[1]} visual tokens in a row are no lattice of {h} x {w}")
    return Grid(frames, h, w)
