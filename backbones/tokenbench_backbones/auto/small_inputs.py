"""Pictures for small random models, in the forms that the image processors of transformers give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["INPUTS", "Images", "plain"]

Images = Callable[[Any, tuple[int, int], int], dict[str, Tensor]]
"""From the model's configuration, the words around the images and how many images there are, to the arguments of
`get_image_features`. `rows` [parts], if present, are the rows that the prompt shows apart."""

SIDE = 16
"""Pixels along one side of a tile."""
LAST = (6, 8)
"""The words of the last of three rows, which shows the smallest picture."""


def plain(config: Any, words: tuple[int, int], n: int) -> dict[str, Tensor]:
    """Squares of one size."""
    side = getattr(getattr(config, "vision_config", None), "image_size", None)
    side = side if isinstance(side, int) else SIDE
    return {"pixel_values": _noise(words, n, 3, side, side)}


def large(config: Any, words: tuple[int, int], n: int) -> dict[str, Tensor]:
    """Squares for an encoder that makes one token of 64 x 64 pixels."""
    return {"pixel_values": _noise(words, n, 3, 256, 256)}


def tiles(config: Any, words: tuple[int, int], n: int) -> dict[str, Tensor]:
    """A batch of one row whose images have one tile or two."""
    return {"pixel_values": _noise(words, 1, n * (1 if words[0] == words[1] - 2 else 2), 3, SIDE, SIDE)}


def unpadded_tiles(config: Any, words: tuple[int, int], n: int) -> dict[str, Tensor]:
    """The whole picture and two tiles, whose padding the model removes."""
    sizes = [(12, 12)] if words == LAST else [(16, 32), (30, 16)][:n]
    return {"pixel_values": _noise(words, n, 3, 3, SIDE, SIDE), "image_sizes": torch.tensor(sizes)}


def rows(config: Any, words: tuple[int, int], n: int) -> dict[str, Tensor]:
    """Pictures of other sizes in one padded tensor."""
    sizes = torch.tensor([(16, 16)] if words == LAST else [(16, 24), (24, 16)][-n:])
    height, width = sizes.max(0).values.tolist()
    patch = config.vision_config.patch_size * config.spatial_merge_size
    return {
        "pixel_values": _noise(words, n, 3, height, width),
        "image_sizes": sizes,
        "rows": sizes[:, 0] // patch,
    }


def grids(config: Any, words: tuple[int, int], n: int) -> dict[str, Tensor]:
    """Patches of lattices of other sizes, one after the other."""
    vision = config.vision_config
    merge = getattr(vision, "spatial_merge_size", 2)
    frames = getattr(vision, "temporal_patch_size", getattr(vision, "patch_temporal", 1))
    sizes = [(3, 3)] if words == LAST else [[(3, 4)], [(2, 5), (4, 2)]][n - 1]
    count = sum(merge * h * merge * w for h, w in sizes)
    return {
        "pixel_values": _noise(words, count, 3 * frames * vision.patch_size**2),
        "image_grid_thw": torch.tensor([(1, merge * h, merge * w) for h, w in sizes]),
    }


def merged_grids(config: Any, words: tuple[int, int], n: int) -> dict[str, Tensor]:
    """As `grids`, with the merge size of every image."""
    return {**grids(config, words, n), "image_merge_sizes": torch.tensor([2] * n)}


def tile_flags(config: Any, words: tuple[int, int], n: int) -> dict[str, Tensor]:
    """As `tiles`, with a flag that is true for tiles that are no padding."""
    made = tiles(config, words, n)
    return {**made, "pixel_attention_mask": torch.ones(1, made["pixel_values"].shape[1], dtype=torch.bool)}


def strips(config: Any, words: tuple[int, int], n: int) -> dict[str, Tensor]:
    """Patches of all images side by side in one strip, with the patches down and across each image."""
    sizes = [(8, 16)] if words == LAST else [(12, 8), (8, 8)][:n]
    patch = config.vision_config.patch_size
    return {
        "pixel_values": _noise(words, 1, 3, patch, patch * sum(h * w for h, w in sizes)),
        "target_sizes": torch.tensor(sizes, dtype=torch.int32),
    }


def sized(config: Any, words: tuple[int, int], n: int) -> dict[str, Tensor]:
    """As `plain`, with the size of every picture."""
    return {**plain(config, words, n), "image_sizes": torch.tensor([(SIDE, SIDE)] * n)}


def pooled_crops(config: Any, words: tuple[int, int], n: int) -> dict[str, Tensor]:
    """The whole picture and one crop of it, each of 4 x 4 patches, of which 2 x 2 become one token."""
    crops = 1 if words == LAST else 2
    corners = torch.tensor([0, 2, 8, 10])
    own = (corners[:, None] + torch.tensor([0, 1, 4, 5])).repeat(crops * n, 1)
    return {
        "pixel_values": _noise(words, crops * n, 16, 48),
        "image_token_pooling": own + 16 * torch.arange(crops * n).repeat_interleave(4)[:, None],
        "image_grids": torch.tensor([(2, 2, 2 * (crops - 1), 2 * (crops - 1))] * n),
    }


def patches(config: Any, words: tuple[int, int], n: int) -> dict[str, Tensor]:
    """As many patches as fill one picture or two."""
    return {"pixel_values": _noise(words, n * 4, 3 * config.patch_size**2)}


def twofold(config: Any, words: tuple[int, int], n: int) -> dict[str, Tensor]:
    """As `plain`, with every picture a second time in a higher resolution."""
    side = config.high_res_vision_config.image_size
    return {**plain(config, words, n), "high_res_pixel_values": _noise(words, n, 3, side, side)}


def whole_patches(config: Any, words: tuple[int, int], n: int) -> dict[str, Tensor]:
    """As `placed_patches`, each of which becomes one token."""
    side = config.vision_config.patch_size * config.vision_config.pooling_kernel_size
    made = placed_patches(config, words, n)
    return {**made, "pixel_values": _noise(words, n, 16, 3 * side**2)}


def apart(config: Any, words: tuple[int, int], n: int) -> dict[str, Tensor]:
    """Squares of one size, one tile each."""
    return {"pixel_values": _noise(words, n, 1, 3, SIDE, SIDE)}


def cut_grids(config: Any, words: tuple[int, int], n: int) -> dict[str, Tensor]:
    """As `grids`, of single frames, each patch a small picture."""
    made = grids(config, words, n)
    side = config.vision_config.patch_size
    made["pixel_values"] = made["pixel_values"][:, : 3 * side**2].unflatten(1, (3, side, side))
    return made


def packed_patches(config: Any, words: tuple[int, int], n: int) -> dict[str, Tensor]:
    """Sixteen patches for every image, with their number along each side."""
    return {
        "pixel_values": _noise(words, n, 16, 48),
        "spatial_shapes": torch.tensor([[4, 4]] * n),
        "pixel_attention_mask": torch.ones(n, 16, dtype=torch.long),
    }


def placed_patches(config: Any, words: tuple[int, int], n: int) -> dict[str, Tensor]:
    """Sixteen patches for every image, with the place of each."""
    places = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    return {"pixel_values": _noise(words, n, 16, 48), "image_position_ids": torch.stack([places] * n)}


def _noise(words: tuple[int, int], *shape: int) -> Tensor:
    """Pixels, others for another row."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(words[0] + 10 * words[1]))


_GRIDS = (
    "cohere_compass",
    "cosmos3_edge",
    "cosmos3_omni",
    "dots3_note",
    "ernie4_5_vl_moe",
    "exaone4_5",
    "glm46v",
    "glm4v",
    "glm4v_moe",
    "glm5_next",
    "glm_ocr",
    "glmga",
    "hunyuan_vl",
    "hy_v4_vl",
    "hyperclovax_vision_v2",
    "inkling2",
    "inkling2_loop",
    "lfm3_vl",
    "minimax_m3_vl",
    "muse_glimmer",
    "muse_spark",
    "qwen2_5_omni_thinker",
    "qwen2_5_vl",
    "qwen2_vl",
    "qwen3_5",
    "qwen3_5_moe",
    "qwen3_omni_moe_thinker",
    "qwen3_vl",
    "qwen3_vl_moe",
    "qwen4_exp",
)

INPUTS: dict[str, Images] = {
    **dict.fromkeys(_GRIDS, grids),
    **dict.fromkeys(("llava_next", "llava_next_video", "llava_onevision"), unpadded_tiles),
    **dict.fromkeys(("idefics2", "idefics3", "smolvlm"), tiles),
    "deepseek_vl_hybrid": twofold,
    "gemma4": placed_patches,
    "gemma4_unified": whole_patches,
    "perception_lm": apart,
    **dict.fromkeys(("lighton_ocr", "mistral3", "mistral_large4"), rows),
    **dict.fromkeys(("minicpm_ocr", "minicpmv4_6", "minicpmv4_7"), strips),
    **dict.fromkeys(("kimi_k25", "paddleocr_vl"), cut_grids),
    **dict.fromkeys(("apertus1p5", "emu3"), sized),
    "molmo2": pooled_crops,
    "fast_vlm": large,
    "fuyu": patches,
    "granite4_vision": unpadded_tiles,
    "granite_docling": tile_flags,
    "lfm2_vl": packed_patches,
    "video_llama_3": merged_grids,
}
"""The pictures of an architecture, by `config.model_type`; `plain` ones for all others."""
