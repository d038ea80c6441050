"""Published models by short names. Any other checkpoint of a supported architecture is named by its Hugging Face id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tokenbench_backbones import published
from tokenbench_backbones.internvl import InternVL
from tokenbench_backbones.llava import Llava
from tokenbench_backbones.qwen_vl import Qwen2VL, Qwen3VL, Qwen25VL
from tokenbench_backbones.video_llava import VideoLlava

__all__ = [
    "InternVL8B",
    "InternVL35For8B",
    "Llava7B",
    "Llava13B",
    "Qwen2VL7B",
    "Qwen3VL2B",
    "Qwen3VL4B",
    "Qwen3VL8B",
    "Qwen25VL3B",
    "Qwen25VL7B",
    "VideoLlava7B",
]


class Llava7B(Llava):
    """LLaVA-1.5 7B."""

    source: ClassVar[str] = "llava-hf/llava-1.5-7b-hf"
    published: ClassVar[Mapping[str, Any]] = published.LLAVA_1_5_7B


class Llava13B(Llava):
    """LLaVA-1.5 13B."""

    source: ClassVar[str] = "llava-hf/llava-1.5-13b-hf"
    published: ClassVar[Mapping[str, Any]] = published.LLAVA_1_5_13B


class Qwen2VL7B(Qwen2VL):
    """Qwen2-VL 7B Instruct."""

    source: ClassVar[str] = "Qwen/Qwen2-VL-7B-Instruct"
    published: ClassVar[Mapping[str, Any]] = published.QWEN2_VL_7B


class Qwen25VL7B(Qwen25VL):
    """Qwen2.5-VL 7B Instruct."""

    source: ClassVar[str] = "Qwen/Qwen2.5-VL-7B-Instruct"
    published: ClassVar[Mapping[str, Any]] = published.QWEN2_5_VL_7B


class Qwen3VL8B(Qwen3VL):
    """Qwen3-VL 8B Instruct."""

    source: ClassVar[str] = "Qwen/Qwen3-VL-8B-Instruct"
    published: ClassVar[Mapping[str, Any]] = published.QWEN3_VL_8B


class InternVL8B(InternVL):
    """InternVL2.5 8B, the MPO checkpoint: the one whose weights were published for the transformers classes."""

    source: ClassVar[str] = "OpenGVLab/InternVL2_5-8B-MPO-hf"
    published: ClassVar[Mapping[str, Any]] = published.INTERNVL2_5_8B


class VideoLlava7B(VideoLlava):
    """Video-LLaVA 7B."""

    source: ClassVar[str] = "LanguageBind/Video-LLaVA-7B-hf"
    published: ClassVar[Mapping[str, Any]] = published.VIDEO_LLAVA_7B


class Qwen25VL3B(Qwen25VL):
    """Qwen2.5-VL 3B Instruct."""

    source: ClassVar[str] = "Qwen/Qwen2.5-VL-3B-Instruct"
    published: ClassVar[Mapping[str, Any]] = published.QWEN2_5_VL_3B


class Qwen3VL2B(Qwen3VL):
    """Qwen3-VL 2B Instruct."""

    source: ClassVar[str] = "Qwen/Qwen3-VL-2B-Instruct"
    published: ClassVar[Mapping[str, Any]] = published.QWEN3_VL_2B


class Qwen3VL4B(Qwen3VL):
    """Qwen3-VL 4B Instruct."""

    source: ClassVar[str] = "Qwen/Qwen3-VL-4B-Instruct"
    published: ClassVar[Mapping[str, Any]] = published.QWEN3_VL_4B


class InternVL35For8B(InternVL):
    """InternVL3.5 8B, the weights for the transformers classes."""

    source: ClassVar[str] = "OpenGVLab/InternVL3_5-8B-HF"
    published: ClassVar[Mapping[str, Any]] = published.INTERNVL3_5_8B
