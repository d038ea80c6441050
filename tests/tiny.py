"""Tiny random models of all registered architectures, made once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tokenbench.registry.plugins import registry
from tokenbench.testing.oracles import Prompt

BACKBONES = [name for name in registry().names("backbones") if registry().get("backbones", name).source is None]
STRATEGIES = [name for name in registry().names("strategies") if name != "vanilla"]


@lru_cache
def tiny(backbone: str, attention: str = "sdpa") -> tuple[Any, list[Prompt]]:
    """Model and prompts."""
    return registry().get("backbones", backbone)().tiny(attention)  # type: ignore[no-any-return]
