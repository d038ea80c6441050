"""Published models by short names whose configuration says which backbone serves them."""

from __future__ import annotations

from typing import ClassVar

from tokenbench import Backbone

__all__ = [
    "Gemma3For4B",
    "Gemma3For12B",
    "Glm41VFor9B",
    "InternVL35For8B",
    "LlavaNext7B",
    "LlavaOneVision7B",
    "Qwen3VL2B",
    "Qwen3VL4B",
    "Qwen3VL30B",
    "Qwen25VL3B",
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


class LlavaOneVision7B(_Checkpoint):
    """LLaVA-OneVision 7B on Qwen2."""

    source: ClassVar[str] = "llava-hf/llava-onevision-qwen2-7b-ov-hf"


class SmolVLM256M(_Checkpoint):
    """SmolVLM 256M Instruct."""

    source: ClassVar[str] = "HuggingFaceTB/SmolVLM-256M-Instruct"


class SmolVLM500M(_Checkpoint):
    """SmolVLM 500M Instruct."""

    source: ClassVar[str] = "HuggingFaceTB/SmolVLM-500M-Instruct"


class SmolVLM2B(_Checkpoint):
    """SmolVLM 2.2B Instruct."""

    source: ClassVar[str] = "HuggingFaceTB/SmolVLM-Instruct"


class Gemma3For4B(_Checkpoint):
    """Gemma 3 4B, instruction-tuned."""

    source: ClassVar[str] = "google/gemma-3-4b-it"


class Gemma3For12B(_Checkpoint):
    """Gemma 3 12B, instruction-tuned."""

    source: ClassVar[str] = "google/gemma-3-12b-it"


class Glm41VFor9B(_Checkpoint):
    """GLM-4.1V 9B Thinking."""

    source: ClassVar[str] = "zai-org/GLM-4.1V-9B-Thinking"


class Qwen25VL3B(_Checkpoint):
    """Qwen2.5-VL 3B Instruct."""

    source: ClassVar[str] = "Qwen/Qwen2.5-VL-3B-Instruct"


class Qwen3VL2B(_Checkpoint):
    """Qwen3-VL 2B Instruct."""

    source: ClassVar[str] = "Qwen/Qwen3-VL-2B-Instruct"


class Qwen3VL4B(_Checkpoint):
    """Qwen3-VL 4B Instruct."""

    source: ClassVar[str] = "Qwen/Qwen3-VL-4B-Instruct"


class Qwen3VL30B(_Checkpoint):
    """Qwen3-VL 30B-A3B Instruct, a mixture of experts."""

    source: ClassVar[str] = "Qwen/Qwen3-VL-30B-A3B-Instruct"


class InternVL35For8B(_Checkpoint):
    """InternVL3.5 8B, the weights for the transformers classes."""

    source: ClassVar[str] = "OpenGVLab/InternVL3_5-8B-HF"
