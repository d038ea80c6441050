"""The built-in backbones: one file an architecture, and models by name."""

from __future__ import annotations

from tokenbench import Register, hookimpl


@hookimpl
def tokenbench_register_backbones(register: Register) -> None:
    register("llava", "tokenbench_backbones.llava:Llava")
    register("toy-llava", "tokenbench_backbones.toy_llava:ToyLlava")
