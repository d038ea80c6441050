"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: images of any size, M-RoPE, and (Qwen3) deepstack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isqrt
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.vision_utils import get_vision_window_index

from tokenbench import Backbone, Grid, UsageError
from tokenbench.contract.backbone import Encoder, FrameLayout, runs
from tokenbench.contract.sizes import ModelSize
from tokenbench_backbones import dummy_inputs, sizes
from tokenbench_backbones.llava import resize

__all__ = ["Qwen2VL", "Qwen3VL", "Qwen25VL", "squarest"]

TYPICAL = 1024
"""Pixels along each side of a common image."""


class Qwen2VL(Backbone):
    """Qwen2VLForConditionalGeneration.

    The lattice of an image or video is h x w after the spatial merge, read from its M-RoPE positions.
    """

    model_types: ClassVar[tuple[str, ...]] = ("qwen2_vl",)

    def grids(
        self, model: Any, input_ids: Tensor, positions: Tensor | None, embeddings: Tensor | None = None
    ) -> list[tuple[Grid, ...]]:
        """Lattices read from the rows and columns in the M-RoPE positions.

        Raises:
            UsageError: If the prompt has no such positions, or if they do not form lattices.
        """
        return [tuple(grid for _, grid in row) for row in self.read_lattices(model, input_ids, positions)]

    def read_lattices(self, model: Any, input_ids: Tensor, positions: Tensor | None) -> list[list[tuple[int, Grid]]]:
        """The lattices of every row, each with the token id that it consists of. The arguments are those of `grids`."""
        if positions is None or positions.ndim != 3:
            raise UsageError(
                "the visual tokens of this prompt have no row and column positions", "also pass mm_token_type_ids"
            )
        axes = positions[1:].to(input_ids.device)
        known = torch.stack([input_ids, self.visual(model, input_ids), *axes], 1).cpu()  # one look at all rows
        return [
            [
                (int(row[0, start]), _lattice(row[2:, start : start + count]))
                for start, count in runs(torch.from_numpy(row[0]), torch.from_numpy(row[1]))
            ]
            for row in known.numpy()
        ]

    def describe_towers(self, model: Any) -> Sequence[Encoder]:
        """Describe the tower, which has no [CLS] and computes all frames in one sequence."""
        tower = model.base_model.visual
        layers, side, patch = list(tower.blocks), tower.spatial_merge_size, tower.config.patch_size

        def layouts(hidden_states: Tensor, grid_thw: Tensor, **options: Any) -> list[FrameLayout]:
            sizes, found, start = grid_thw.tolist(), list[FrameLayout](), 0
            patches = torch.arange(side**2)
            shapes = {(h, w) for _, h, w in sizes}
            tokens = {shape: self.places(model, *shape)[:, None] * side**2 + patches for shape in shapes}
            for t, h, w in sizes:
                for _ in range(t):
                    pixels = hidden_states[start : start + h * w].reshape(
                        1, h // side, w // side, side, side, 3, -1, patch, patch
                    )
                    found.append(FrameLayout(h * w, tokens[h, w], pixels))
                    start += h * w
            return found

        def project(states: Tensor) -> Tensor:
            return self.project(tower, states)

        def encode_resized(pixels: Tensor, h: int, w: int) -> Tensor:
            # (frame, row, column, y, x, channel, time, py, px) <-> (frame, time, channel, row y py, column x px)
            pictures = pixels.permute(0, 6, 5, 1, 3, 7, 2, 4, 8).flatten(6).flatten(3, 5).flatten(0, 1)
            smaller = resize(pictures, h * side * patch, w * side * patch).unflatten(0, (len(pixels), -1))
            cut = smaller.unflatten(3, (h, side, patch)).unflatten(6, (w, side, patch))
            patches = cut.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).flatten(5).flatten(0, 4)
            grid = torch.tensor(self.grid_thw(len(pixels), h * side, w * side), device=patches.device)
            # `forward` is called directly, so that hooks on the tower do not fire.
            projected: Tensor = tower.forward(patches, grid_thw=grid).pooler_output
            return projected

        return [
            Encoder(
                tower=tower,
                layers=layers,
                attentions=[layer.attn for layer in layers],
                depth=len(layers),
                cls=False,
                batched=False,
                layouts=layouts,
                project=project,
                encode_resized=encode_resized,
            )
        ]

    def grid_thw(self, count: int, h: int, w: int) -> list[tuple[int, int, int]]:
        """How the tower is told of some pictures of h x w patches: like a clip, whose frames are as far apart."""
        return [(count, h, w)]

    def project(self, tower: Any, states: Tensor) -> Tensor:
        """[m, C of the decoder] from the states [m, patches, C] of whole tokens."""
        projected: Tensor = tower.merger(states.flatten(0, 1))
        return projected

    def places(self, model: Any, h: int, w: int) -> Tensor:
        """[tokens] places of the visual tokens of a frame of h x w patches in the encoder's layers, counted in tokens."""
        return torch.arange(h * w // model.base_model.visual.spatial_merge_size**2)

    def size(self, config: Any) -> ModelSize:
        """Sizes of a Qwen2-VL encoder and decoder."""
        return sizes.qwen2_vl(config)

    def default_grids(self, config: Any, tokens: int | None = None) -> tuple[Grid, ...]:
        """One image of 1,024 x 1,024 pixels, or the squarest lattice of `tokens` visual tokens.

        The processor rounds the sides of an image to whole tokens.
        """
        side = round(TYPICAL / (config.vision_config.patch_size * config.vision_config.spatial_merge_size))
        return (Grid(1, *squarest(tokens or side**2)),)

    def dummy_inputs(self, config: Any, grids: Sequence[Grid], text: int) -> dict[str, Tensor]:
        """One row of random words with random images."""
        vision, start, end = config.vision_config, config.vision_start_token_id, config.vision_end_token_id
        shown = [token for grid in grids for token in (start, *[config.image_token_id] * grid.tokens, end)]
        row = dummy_inputs.prompt(config, shown, text)
        side = vision.spatial_merge_size
        patches = [(1, grid.h * side, grid.w * side) for grid in grids]
        return {
            **row,
            "pixel_values": dummy_inputs.noise(
                sum(h * w for _, h, w in patches), 3 * vision.temporal_patch_size * vision.patch_size**2
            ),
            "image_grid_thw": torch.tensor(patches),
            "mm_token_type_ids": (row["input_ids"] == config.image_token_id).int(),
        }

    def tiny(self, attention: str = "sdpa") -> tuple[Any, list[dict[str, Tensor]]]:
        """A small random Qwen2-VL and its prompts."""
        from tokenbench_backbones import tiny

        return tiny.qwen2_vl(attention)


class Qwen25VL(Qwen2VL):
    """Qwen2_5_VLForConditionalGeneration: the encoder's layers have tokens window by window."""

    model_types: ClassVar[tuple[str, ...]] = ("qwen2_5_vl",)

    def places(self, model: Any, h: int, w: int) -> Tensor:
        """[tokens] places of the visual tokens of a frame in the encoder's layers, which have them window by window."""
        config, grid = model.base_model.visual.config, torch.tensor([[1, h, w]])
        order, _ = get_vision_window_index(grid, config.spatial_merge_size, config.window_size, config.patch_size)
        return order.argsort()

    def size(self, config: Any) -> ModelSize:
        """Sizes of a Qwen2.5-VL encoder, whose layers mostly attend within windows, and of its decoder."""
        return sizes.qwen2_5_vl(config)

    def tiny(self, attention: str = "sdpa") -> tuple[Any, list[dict[str, Tensor]]]:
        """A small random Qwen2.5-VL and its prompts."""
        from tokenbench_backbones import tiny

        return tiny.qwen2_5_vl(attention)


class Qwen3VL(Qwen2VL):
    """Qwen3VLForConditionalGeneration: features of three more encoder depths are added after the first three layers.

    A video has a timestamp before every frame: each frame is a lattice of its own.
    """

    model_types: ClassVar[tuple[str, ...]] = ("qwen3_vl",)

    def grids(
        self, model: Any, input_ids: Tensor, positions: Tensor | None, embeddings: Tensor | None = None
    ) -> list[tuple[Grid, ...]]:
        """The lattices; consecutive ones of a video that have one size are numbered as frames of one item.

        The prompt does not say where one video ends and the next begins, so that two videos of one size in a row count
        as one.
        """
        video = model.config.video_token_id
        return [
            _number_items([grid for _, grid in row], [token == video for token, _ in row])
            for row in self.read_lattices(model, input_ids, positions)
        ]

    def encode_images(self, model: Any, inputs: Any) -> list[Tensor]:
        """Features [tokens, C + 3 C] of every image: the tower's output, then the three deepstack states."""
        outputs = self.call_stock(model, inputs)
        depths = zip(outputs.pooler_output, *outputs.deepstack_features, strict=True)
        return [torch.cat(features, -1) for features in depths]

    def as_stock_output(self, model: Any, features: list[Tensor]) -> Any:
        """The output and the deepstack states, taken apart again."""
        width = model.config.text_config.hidden_size
        depths = [list(depth) for depth in zip(*(item.split(width, -1) for item in features), strict=True)]
        output: Any = BaseModelOutputWithPooling()
        output.pooler_output, output.deepstack_features = depths[0], depths[1:]
        return output

    def size(self, config: Any) -> ModelSize:
        """Sizes of a Qwen3-VL encoder and decoder."""
        return sizes.qwen3_vl(config)

    def tiny(self, attention: str = "sdpa") -> tuple[Any, list[dict[str, Tensor]]]:
        """A small random Qwen3-VL and its prompts."""
        from tokenbench_backbones import tiny

        return tiny.qwen3_vl(attention)


def squarest(tokens: int) -> tuple[int, int]:
    """Rows and columns of the squarest lattice of that number of tokens.

    Args:
        tokens: The number.
    """
    h = next(h for h in range(isqrt(tokens), 0, -1) if tokens % h == 0)
    return h, tokens // h


def _number_items(grids: Sequence[Grid], video: Sequence[bool]) -> tuple[Grid, ...]:
    """The lattices, of which consecutive equal ones of a video have one number."""
    numbered: list[Grid] = []
    for i, (grid, moving) in enumerate(zip(grids, video, strict=True)):
        follows = moving and i > 0 and video[i - 1] and grids[i - 1] == grid
        numbered.append(replace(grid, item=numbered[-1].item if follows else i) if moving else grid)
    return tuple(numbered)


def _lattice(places: np.ndarray) -> Grid:
    """The lattice that the (h, w) positions [2, n] of one image form, row by row, frame by frame."""
    h, w = (np.ptp(places, axis=1) + 1).tolist()
    frames, rest = divmod(places.shape[1], h * w)
    if rest:
        raise UsageError(f"{places.shape[1]} consecutive visual tokens do not form a lattice of {h} x {w}")
    return Grid(frames, h, w)
