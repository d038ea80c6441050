"""Published models by short names whose configuration says which backbone serves them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tokenbench import Backbone
from tokenbench_backbones.auto import published
from tokenbench_backbones.published import QWEN3_VL_30B

__all__ = [
    "Gemma3For4B",
    "Gemma3For12B",
    "Glm41VFor9B",
    "LlavaNext7B",
    "LlavaOneVision7B",
    "Qwen3VL30B",
    "SmolVLM2B",
    "SmolVLM256M",
    "SmolVLM500M",
]


class _Checkpoint(Backbone):
    """A name for a model checkpoint. The backbone follows from the `model_type` in its `config.json`."""

    fallback: ClassVar[bool] = True


class LlavaNext7B(_Checkpoint):
    """LLaVA-NeXT (1.6) 7B on Vicuna."""

    source: ClassVar[str] = "llava-hf/llava-v1.6-vicuna-7b-hf"
    published: ClassVar[Mapping[str, Any]] = published.LLAVA_NEXT_7B


class LlavaOneVision7B(_Checkpoint):
    """LLaVA-OneVision 7B on Qwen2."""

    source: ClassVar[str] = "llava-hf/llava-onevision-qwen2-7b-ov-hf"
    published: ClassVar[Mapping[str, Any]] = published.LLAVA_ONEVISION_7B


class SmolVLM256M(_Checkpoint):
    """SmolVLM 256M Instruct."""

    source: ClassVar[str] = "HuggingFaceTB/SmolVLM-256M-Instruct"
    published: ClassVar[Mapping[str, Any]] = published.SMOLVLM_256M


class SmolVLM500M(_Checkpoint):
    """SmolVLM 500M Instruct."""

    source: ClassVar[str] = "HuggingFaceTB/SmolVLM-500M-Instruct"
    published: ClassVar[Mapping[str, Any]] = published.SMOLVLM_500M


class SmolVLM2B(_Checkpoint):
    """SmolVLM 2.2B Instruct."""

    source: ClassVar[str] = "HuggingFaceTB/SmolVLM-Instruct"
    published: ClassVar[Mapping[str, Any]] = published.SMOLVLM_2B


class Gemma3For4B(_Checkpoint):
    """Gemma 3 4B, instruction-tuned."""

    source: ClassVar[str] = "google/gemma-3-4b-it"
    published: ClassVar[Mapping[str, Any]] = published.GEMMA_3_4B


class Gemma3For12B(_Checkpoint):
    """Gemma 3 12B, instruction-tuned."""

    source: ClassVar[str] = "google/gemma-3-12b-it"
    published: ClassVar[Mapping[str, Any]] = published.GEMMA_3_12B


class Glm41VFor9B(_Checkpoint):
    """GLM-4.1V 9B Thinking."""

    source: ClassVar[str] = "zai-org/GLM-4.1V-9B-Thinking"
    published: ClassVar[Mapping[str, Any]] = published.GLM_4_1V_9B


class Qwen3VL30B(_Checkpoint):
    """Qwen3-VL 30B-A3B Instruct, a mixture of experts."""

    source: ClassVar[str] = "Qwen/Qwen3-VL-30B-A3B-Instruct"
    published: ClassVar[Mapping[str, Any]] = QWEN3_VL_30B
