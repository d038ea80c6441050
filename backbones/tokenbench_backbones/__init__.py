"""The built-in backbones: one file an architecture, and models by name."""

from __future__ import annotations

from tokenbench import Register, hookimpl

CHECKPOINTS = {
    "gemma-3-4b": "Gemma3For4B",
    "gemma-3-12b": "Gemma3For12B",
    "glm-4.1v-9b": "Glm41VFor9B",
    "llava-next-7b": "LlavaNext7B",
    "llava-onevision-7b": "LlavaOneVision7B",
    "qwen3-vl-30b-a3b": "Qwen3VL30B",
    "smolvlm-256m": "SmolVLM256M",
    "smolvlm-500m": "SmolVLM500M",
    "smolvlm-2.2b": "SmolVLM2B",
}
"""Models by name whose configuration says which backbone serves them."""


@hookimpl
def tokenbench_register_backbones(register: Register) -> None:
    """Register every built-in architecture, and models by name."""
    register("auto", "tokenbench_backbones.auto:Auto")
    register("internvl", "tokenbench_backbones.internvl:InternVL")
    register("llava", "tokenbench_backbones.llava:Llava")
    register("qwen2-vl", "tokenbench_backbones.qwen_vl:Qwen2VL")
    register("qwen2.5-vl", "tokenbench_backbones.qwen_vl:Qwen25VL")
    register("qwen3-vl", "tokenbench_backbones.qwen_vl:Qwen3VL")
    register("video-llava", "tokenbench_backbones.video_llava:VideoLlava")
    register("internvl2.5-8b", "tokenbench_backbones.models:InternVL8B")
    register("internvl3.5-8b", "tokenbench_backbones.models:InternVL35For8B")
    register("llava-1.5-7b", "tokenbench_backbones.models:Llava7B")
    register("llava-1.5-13b", "tokenbench_backbones.models:Llava13B")
    register("qwen2-vl-7b", "tokenbench_backbones.models:Qwen2VL7B")
    register("qwen2.5-vl-3b", "tokenbench_backbones.models:Qwen25VL3B")
    register("qwen2.5-vl-7b", "tokenbench_backbones.models:Qwen25VL7B")
    register("qwen3-vl-2b", "tokenbench_backbones.models:Qwen3VL2B")
    register("qwen3-vl-4b", "tokenbench_backbones.models:Qwen3VL4B")
    register("qwen3-vl-8b", "tokenbench_backbones.models:Qwen3VL8B")
    register("video-llava-7b", "tokenbench_backbones.models:VideoLlava7B")
    for name, checkpoint in CHECKPOINTS.items():
        register(name, f"tokenbench_backbones.auto.checkpoints:{checkpoint}")
    register("toy-llava", "tokenbench_backbones.toy_llava:ToyLlava")
    register("toy-video-llava", "tokenbench_backbones.toy_video_llava:ToyVideoLlava")
