"""The vision encoders of LLaVA-NeXT and LLaVA-OneVision, whose tiles become one lattice with a newline behind every row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from math import ceil, sqrt
from typing import Any

import torch
from torch import Tensor
from transformers.image_processing_utils import select_best_resolution
from transformers.models.llava_next.modeling_llava_next import unpad_image

from tokenbench import Grid, UsageError
from tokenbench.contract.backbone import Encoder, FrameLayout
from tokenbench.contract.sizes import EncoderSize
from tokenbench_backbones import dummy_inputs, sizes
from tokenbench_backbones.auto.costs import count_matrices
from tokenbench_backbones.llava import describe_clip

__all__ = ["Tiles", "count_tiles", "pooled_side", "side_of"]


@dataclass(frozen=True)
class Tiles:
    """An encoder of CLIP or SigLIP. A picture is a square of all of it, and a lattice of tiles without their padding."""

    def describe(self, model: Any) -> Sequence[Encoder]:
        """Describe the encoder of a stock model."""
        base = model.base_model
        inner = describe_clip(model, base.vision_tower, model.config.vision_feature_select_strategy != "default")
        callers = [(base, f"get_{kind}_features") for kind in ("image", "video")]
        callers = [(base, name) for base, name in callers if hasattr(base, name)]
        return [replace(inner, layouts=partial(_layouts, inner, model.config), callers=callers)]

    def size(self, config: Any, model: Any) -> EncoderSize:
        """Sizes read from the modules."""
        vision, tower = config.vision_config, model.base_model.vision_tower
        return EncoderSize(
            layers=vision.num_hidden_layers,
            width=vision.hidden_size,
            mlp_width=tower.encoder.layers[0].mlp.fc1.out_features,
            mlp_matrices=sizes.PLAIN,
            patch=vision.num_channels * vision.patch_size**2,
            num_prefix_tokens=int(hasattr(tower.embeddings, "class_embedding")),
            projector=count_matrices(model.base_model.multi_modal_projector),
            tile=side_of(config),
        )

    def default_grids(self, config: Any, tokens: int | None) -> tuple[Grid, ...]:
        """A square picture of four tiles, or equal pictures that have `tokens` visual tokens.

        Raises:
            UsageError: If no pictures have that number of visual tokens.
        """
        side = side_of(config)
        if tokens is None:
            return _picture(config, 2 * side, 2 * side)
        for one in _pictures(config):
            count = sum(grid.tokens for grid in one)
            if tokens % count == 0:
                return one * (tokens // count)
        raise UsageError(f"no pictures have {tokens} visual tokens on this model")

    def dummy_inputs(self, config: Any, grids: Sequence[Grid], text: int) -> dict[str, Tensor]:
        """One row of random words with random pictures."""
        vision = config.vision_config
        row = dummy_inputs.prompt(config, [config.image_token_id] * sum(grid.tokens for grid in grids), text)
        pictures = [grid for grid in grids if grid.row_end_tokens]
        inputs = 1 + max(grid.inputs or 1 for grid in pictures)
        patch = vision.patch_size
        return {
            **row,
            "pixel_values": dummy_inputs.noise(len(pictures), inputs, 3, vision.image_size, vision.image_size),
            "image_sizes": torch.tensor([(grid.h * patch, grid.w * patch) for grid in pictures]),
        }


def count_tiles(config: Any, h: int, w: int) -> int | None:
    """How many tiles became a lattice of h x w tokens; None if the model may have shrunk what it computed of them.

    A picture of that shape in pixels has that lattice, and so has every smaller one that is cut into the same tiles. A
    picture that is a little longer than whole tiles, by less than half a patch, has one tile more than is counted here.

    Args:
        config: The stock configuration.
        h: Rows.
        w: Columns.
    """
    side, patch, most = side_of(config), config.vision_config.patch_size, _most_tiles(config)
    if most is not None and h * w > 0.85 * most * side**2:  # sides are rounded down
        return None
    down, across = _tiling(config, (h * patch, w * patch))
    return down * across


def side_of(config: Any) -> int:
    """Patches along each side of a tile.

    Args:
        config: The stock configuration.
    """
    side: int = config.vision_config.image_size // config.vision_config.patch_size
    return side


def pooled_side(config: Any) -> tuple[int, int]:
    """Tokens along each side of the frame of a clip, and how many newlines stand behind the last frame.

    Args:
        config: The stock configuration.
    """
    stride = getattr(config, "spatial_pool_stride", None)
    return (ceil(side_of(config) / 2), 1) if stride is None else (side_of(config) // stride, 0)


def _tiling(config: Any, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the tiles of a picture of that size in pixels."""
    height, width = select_best_resolution(size, config.image_grid_pinpoints)
    return height // config.vision_config.image_size, width // config.vision_config.image_size


def _most_tiles(config: Any) -> int | None:
    """To about how many tiles LLaVA-OneVision shrinks larger pictures after the encoder; None if the model does not."""
    limit = getattr(config, "vision_aspect_ratio", None)
    return None if limit is None else int(limit.removeprefix("anyres_max_"))


def _shrinks(config: Any, h: int, w: int) -> float:
    """By what the model shrinks both sides of a lattice of h x w after the encoder; 1 if it does not."""
    most = _most_tiles(config)
    ratio = 1.0 if most is None else sqrt(h * w / (most * side_of(config) ** 2))
    return ratio if ratio > 1.1 else 1


def _picture(config: Any, h: int, w: int) -> tuple[Grid, ...]:
    side = side_of(config)
    return Grid(1, side, side), Grid(1, h, w, row_end_tokens=1, inputs=count_tiles(config, h, w))


def _pictures(config: Any) -> Iterator[tuple[Grid, ...]]:
    """The lattices of every picture that fills its tiles in one direction."""
    side, patch, size = side_of(config), config.vision_config.patch_size, config.vision_config.image_size
    for resolution in config.image_grid_pinpoints:
        tiling = (resolution[0] // size, resolution[1] // size)
        height, width = (count * side for count in tiling)
        shapes = [(h, width) for h in range(height, 0, -2)] + [(height, w) for w in range(width, 0, -2)]
        for h, w in shapes:
            if _shrinks(config, h, w) == 1 and _tiling(config, (h * patch, w * patch)) == tiling:
                yield _picture(config, h, w)


def _layouts(inner: Encoder, config: Any, pixel_values: Tensor, *, call: dict[str, Any], **_: Any) -> list[FrameLayout]:
    """The layouts of pictures, or of the frames of clips."""
    inputs = inner.layouts(pixel_values)
    if "pixel_values_videos" in call:
        return _clips(config, inputs, call["pixel_values_videos"].shape[1])
    numbers = call.get("batch_num_images")
    cut = [True] * len(call["image_sizes"])
    if numbers is not None:  # LLaVA-OneVision does not cut a picture among several
        cut = [n == 1 for n in torch.as_tensor(numbers).tolist() for _ in range(n)]
    layouts: list[FrameLayout] = []
    left = iter(inputs)
    for size, tiled in zip(torch.as_tensor(call["image_sizes"]).tolist(), cut, strict=True):
        whole = next(left)
        if not tiled:
            layouts.append(_with_newlines(whole, len(whole.tokens)))
            continue
        down, across = _tiling(config, tuple(size))
        tiles = list(islice(left, down * across))
        layouts += [whole, _join(config, size, tiles, down, across)]
    return layouts


def _clips(config: Any, frames: Sequence[FrameLayout], length: int) -> list[FrameLayout]:
    """The layouts of the frames of clips of equal length, which LLaVA-NeXT-Video pools before its projector."""
    side = side_of(config)
    count, newline = pooled_side(config)
    if getattr(config, "spatial_pool_mode", None) == "average":
        stride = config.spatial_pool_stride
        return [
            replace(frame, tokens=_pooled(frame.tokens[-(side**2) :].view(side, side), count, stride))
            for frame in frames
        ]
    unknown = torch.zeros(count**2, 1, dtype=torch.long)
    resized = ", but the model resizes what it computed of clips"
    layouts = [replace(frame, tokens=unknown, unreadable=resized) for frame in frames]
    return [
        _with_newlines(one, count**2) if newline and (i + 1) % length == 0 else one for i, one in enumerate(layouts)
    ]


def _join(config: Any, size: Sequence[int], inputs: Sequence[FrameLayout], down: int, across: int) -> FrameLayout:
    """The layout of a picture's tiles, without their padding, with a newline at the end of every row."""
    side, each = side_of(config), inputs[0].positions
    square = inputs[0].tokens[-(side**2) :].view(side, side)
    numbers = torch.arange(down * across).view(down, across, 1, 1).expand(-1, -1, side, side)
    lattice = torch.stack([square + each * numbers, numbers])  # positions and tiles [2, down, across, side, side]
    cut = unpad_image(lattice.transpose(2, 3).flatten(3).flatten(1, 2), size)
    h, w = cut.shape[1:]
    top, left = (down * side - h) // 2, (across * side - w) // 2
    pixels = torch.cat([one.pixels for one in inputs]).unflatten(0, (down, across))  # [down, across, 3, height, width]
    whole = pixels.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)[None]
    patch = config.vision_config.patch_size
    y, x = top * patch, left * patch
    shown = whole[:, :, y : whole.shape[2] - y, x : whole.shape[3] - x]
    positions, tiles = (part.flatten() for part in cut)
    joined = FrameLayout(each * len(inputs), positions[:, None], shown, tiles=tiles, inputs=len(inputs))
    if (ratio := _shrinks(config, h, w)) > 1:
        h, w = int(h // ratio), int(w // ratio)
        nothing, why = (
            torch.zeros(h * w, dtype=torch.long),
            ", but the model shrinks what it computed of large pictures",
        )
        joined = replace(joined, tokens=nothing[:, None], tiles=nothing, unreadable=why)
    return _with_newlines(joined, w)


def _pooled(square: Tensor, count: int, stride: int) -> Tensor:
    """[n, stride * stride] positions of the squares of patches that are pooled; what is left over at the ends is not."""
    even = square[: count * stride, : count * stride]
    return even.reshape(count, stride, count, stride).transpose(1, 2).reshape(count**2, stride**2)


def _with_newlines(layout: FrameLayout, width: int) -> FrameLayout:
    """The layout with a newline behind every `width` tokens."""

    def end_rows(values: Tensor) -> Tensor:
        rows = values.unflatten(0, (-1, width))
        return torch.cat([rows, rows[:, -1:]], 1).flatten(0, 1)

    rows = torch.zeros(len(layout.tokens), dtype=torch.bool).view(-1, width)
    return replace(
        layout,
        tokens=end_rows(layout.tokens),
        tiles=None if layout.tiles is None else end_rows(layout.tiles),
        blank=torch.nn.functional.pad(rows, (0, 1), value=True).flatten(),
    )
