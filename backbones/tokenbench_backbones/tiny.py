"""Random models of every architecture, small enough for tests, and prompts for them.

A prompt is the model's inputs for one row: a few words, images or clips between marks, a question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    VideoLlavaConfig,
    VideoLlavaForConditionalGeneration,
)

__all__ = ["internvl", "llava", "qwen2_5_vl", "qwen2_vl", "qwen3_vl", "video_llava"]

Prompt = dict[str, Tensor]
PAD, IMAGE, VIDEO, START, END, VOCAB = 0, 90, 91, 92, 93, 96
TEXT: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": PAD,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.3,  # sharp enough that tokens matter
}
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
TOKENS: dict[str, Any] = {
    "image_token_id": IMAGE,
    "video_token_id": VIDEO,
    "vision_start_token_id": START,
    "vision_end_token_id": END,
    "pad_token_id": PAD,
}
CLIP: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def llava(attention: str = "sdpa") -> tuple[Any, list[Prompt]]:
    """16 visual tokens an image."""
    vision = CLIPVisionConfig(**CLIP, image_size=16, patch_size=4)
    config = LlavaConfig(vision_config=vision, text_config=LlamaConfig(**TEXT), image_token_index=IMAGE)
    model = _random(LlavaForConditionalGeneration, config, attention)
    return model, [_row([IMAGE] * 16 * n, words, pixel_values=_noise(words, n, 3, 16, 16)) for n, words in _unlike()]


def internvl(attention: str = "sdpa") -> tuple[Any, list[Prompt]]:
    """9 visual tokens a tile; an image has one tile, or two and a thumbnail."""
    vision = InternVLVisionConfig(**CLIP, image_size=[24, 24], patch_size=[4, 4], use_absolute_position_embeddings=True)
    config = InternVLConfig(
        vision_config=vision, text_config=LlamaConfig(**TEXT), image_token_id=IMAGE, image_seq_length=9
    )
    model = _random(InternVLForConditionalGeneration, config, attention)
    tiles = [1, 3, 2]
    return model, [
        _row([IMAGE] * 9 * n, words, pixel_values=_noise(words, n, 3, 24, 24))
        for n, (_, words) in zip(tiles, _unlike(), strict=True)
    ]


def video_llava(attention: str = "sdpa") -> tuple[Any, list[Prompt]]:
    """4 tokens an image, 5 a frame, since a frame keeps its [CLS]; two prompts show a clip of four frames."""
    vision = CLIPVisionConfig(**CLIP, image_size=8, patch_size=4)
    config = VideoLlavaConfig(
        vision_config=vision, text_config=LlamaConfig(**TEXT), image_token_index=IMAGE, video_token_index=VIDEO
    )
    model = _random(VideoLlavaForConditionalGeneration, config, attention)
    (_, first), (_, second), (_, third) = _unlike()
    return model, [
        _row([VIDEO] * 20, first, pixel_values_videos=_noise(first, 1, 4, 3, 8, 8)),
        _row([IMAGE] * 8, second, pixel_values=_noise(second, 2, 3, 8, 8)),
        _row([VIDEO] * 20, third, pixel_values_videos=_noise(third, 1, 4, 3, 8, 8)),
    ]


def qwen2_vl(attention: str = "sdpa") -> tuple[Any, list[Prompt]]:
    """Images of 3 x 4, 2 x 5 with 4 x 2, and 3 x 3 tokens."""
    vision = {"depth": 2, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 4}
    return _qwen(Qwen2VLConfig, Qwen2VLForConditionalGeneration, vision, attention)


def qwen2_5_vl(attention: str = "sdpa") -> tuple[Any, list[Prompt]]:
    """A Qwen2-VL with windows in the encoder."""
    vision = {
        "depth": 2,
        "hidden_size": 16,
        "out_hidden_size": 32,
        "intermediate_size": 32,
        "num_heads": 2,
        "patch_size": 4,
        "window_size": 16,
        "fullatt_block_indexes": [1],
    }
    return _qwen(Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, vision, attention)


def qwen3_vl(attention: str = "sdpa") -> tuple[Any, list[Prompt]]:
    """A Qwen2-VL with two depths of deepstack."""
    vision = {
        "depth": 3,
        "hidden_size": 16,
        "out_hidden_size": 32,
        "intermediate_size": 32,
        "num_heads": 2,
        "patch_size": 4,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0, 1],
    }
    return _qwen(Qwen3VLConfig, Qwen3VLForConditionalGeneration, vision, attention)


def _qwen(configuration: Any, cls: Any, vision: dict[str, Any], attention: str) -> tuple[Any, list[Prompt]]:
    text = {**TEXT, "rope_parameters": MROPE, "head_dim": 8, "use_sliding_window": False}
    model = _random(cls, configuration(vision_config=vision, text_config=text, **TOKENS), attention)
    sizes = [[(3, 4)], [(2, 5), (4, 2)], [(3, 3)]]
    return model, [_qwen_row(images, words, model) for images, (_, words) in zip(sizes, _unlike(), strict=True)]


def _qwen_row(images: Sequence[tuple[int, int]], words: tuple[int, int], model: Any) -> Prompt:
    """Images of h x w tokens; a token is 2 x 2 patches."""
    vision = model.config.vision_config
    patch = 3 * vision.temporal_patch_size * vision.patch_size**2
    shown = [token for h, w in images for token in (START, *[IMAGE] * (h * w), END)]
    grid = torch.tensor([(1, 2 * h, 2 * w) for h, w in images])
    row = _row(shown, words, pixel_values=_noise(words, sum(4 * h * w for h, w in images), patch), image_grid_thw=grid)
    return {**row, "mm_token_type_ids": (row["input_ids"] == IMAGE).int()}


def _random(cls: Any, config: PreTrainedConfig, attention: str) -> Any:
    torch.manual_seed(0)
    model = cls._from_config(config, attn_implementation=attention).eval()
    model.generation_config.pad_token_id = PAD
    return model


def _unlike() -> list[tuple[int, tuple[int, int]]]:
    """Of three rows: how many images, and how many words stand before and after them."""
    return [(1, (3, 5)), (2, (3, 3)), (1, (6, 8))]


def _noise(words: tuple[int, int], *shape: int) -> Tensor:
    """Pixels, others for another row."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(words[0] + 10 * words[1]))


def _row(shown: list[int], words: tuple[int, int], **media: Tensor) -> Prompt:
    before, after = words
    text = torch.randint(3, IMAGE, (before + after,), generator=torch.Generator().manual_seed(before + 10 * after))
    ids = torch.cat([text[:before], torch.tensor(shown), text[before:]])[None]
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **media}
