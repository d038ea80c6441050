"""Folders as `--models` takes them: tiny random models of every architecture with a processor that fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    GotOcr2ImageProcessor,
    InternVLProcessor,
    InternVLVideoProcessor,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    VideoLlavaProcessor,
    VideoLlavaVideoProcessor,
)

from tests.tiny import tiny
from tokenbench_backbones.tiny import END, IMAGE, PAD, START, VIDEO, VOCAB

HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% elif part['type'] == 'image' %}IMAGE{% else %}VIDEO{% endif %}{% endfor %}{% endfor %} ASSISTANT:"
)


_MARKED = "<|vision_start|><|{}_pad|><|vision_end|>"


def save(backbone: str, folder: Path) -> Path:
    """Write the folder of a backbone's tiny model."""
    model, _ = tiny(backbone)
    model.save_pretrained(folder)
    PROCESSORS[backbone]().save_pretrained(folder)
    return folder


def _tokenizer(image: str, video: str, start: str = "<start>", end: str = "<end>", **extra: str) -> Any:
    fixed = {PAD: "<pad>", 1: "<s>", 2: "</s>", 3: "<unk>", IMAGE: image, VIDEO: video, START: start, END: end}
    vocabulary = {fixed.get(i, f"word{i}"): i for i in range(VOCAB)}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]"), "removed", invert=True)
    raw.add_special_tokens([AddedToken(fixed[i], normalized=False) for i in (IMAGE, VIDEO, START, END)])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        model_input_names=["input_ids", "attention_mask"],
        **({"extra_special_tokens": extra} if extra else {}),
    )


def _llava() -> Any:
    images = CLIPImageProcessor(size={"height": 16, "width": 16}, do_center_crop=False, **HALF)
    tokens = _tokenizer("<image>", "<video>")
    template = TEMPLATE.replace("IMAGE", "<image>")
    return LlavaProcessor(
        images, tokens, patch_size=4, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=template,
    )  # fmt: skip


def _video_llava() -> Any:
    size = {"size": {"height": 8, "width": 8}, "do_center_crop": False, **HALF}
    return VideoLlavaProcessor(  # without a chat template: the adapter writes the prompt
        image_processor=CLIPImageProcessor(**size),
        video_processor=VideoLlavaVideoProcessor(**size),
        tokenizer=_tokenizer("<image>", "<video>"),
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def _internvl() -> Any:
    size = {"size": {"height": 24, "width": 24}, **HALF}
    tokens = _tokenizer(
        "<IMG_CONTEXT>", "<video>", "<img>", "</img>",
        start_image_token="<img>", end_image_token="</img>", context_image_token="<IMG_CONTEXT>", video_token="<video>",
    )  # fmt: skip
    return InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(crop_to_patches=True, min_patches=1, max_patches=3, **size),
        tokenizer=tokens,
        video_processor=InternVLVideoProcessor(**size),
        image_seq_length=9,
        chat_template=TEMPLATE.replace("IMAGE", "<IMG_CONTEXT>").replace("VIDEO", "<video>"),
    )


def _qwen(processor: Any, videos: Any) -> Any:
    size = {"patch_size": 4, "temporal_patch_size": 2, "merge_size": 2}
    limits = {"size": {"shortest_edge": 8 * 8, "longest_edge": 32 * 32}}
    return processor(
        image_processor=Qwen2VLImageProcessor(**size, **limits),
        tokenizer=_tokenizer("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"),
        video_processor=videos(**size, **limits),
        chat_template=TEMPLATE.replace("IMAGE", _MARKED.format("image")).replace("VIDEO", _MARKED.format("video")),
    )


PROCESSORS = {
    "internvl": _internvl,
    "llava": _llava,
    "qwen2-vl": lambda: _qwen(Qwen2VLProcessor, Qwen2VLVideoProcessor),
    "qwen2.5-vl": lambda: _qwen(Qwen2_5_VLProcessor, Qwen2VLVideoProcessor),
    "qwen3-vl": lambda: _qwen(Qwen3VLProcessor, Qwen3VLVideoProcessor),
    "video-llava": _video_llava,
}
