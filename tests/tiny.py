"""Tiny random models of all registered architectures, made once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pytest
import torch

from tokenbench.registry.plugins import registry
from tokenbench.testing.oracles import Prompt

BACKBONES = [
    name
    for name in registry().names("backbones")
    if registry().get("backbones", name).source is None and not registry().get("backbones", name).fallback
]
FEW = [name if name in ("llava", "qwen2.5-vl") else pytest.param(name, marks=pytest.mark.slow) for name in BACKBONES]
"""All of them, for a test that takes seconds each; the quick ones have one image a prompt, and lattices of their own."""
STRATEGIES = [name for name in registry().names("strategies") if name != "vanilla"]


def spread(names: Sequence[str], quick: Sequence[str] = ("llava",)) -> list[Any]:
    """Parameters for every name x architecture.

    Each name is quick on the architectures in ``quick`` and on one other, dealt out in turn, so that every name and every architecture
    is met by the quick tests. All other pairs are exhaustive.
    """
    others = [backbone for backbone in BACKBONES if backbone not in quick]
    return [
        pytest.param(
            name,
            backbone,
            id=f"{name}-{backbone}",
            marks=[] if backbone in (*quick, others[at % len(others)]) else pytest.mark.exhaustive,
        )
        for at, name in enumerate(names)
        for backbone in BACKBONES
    ]


@lru_cache
def tiny(backbone: str, attention: str = "sdpa") -> tuple[Any, list[Prompt]]:
    """Model and prompts, on the device that `--device` names."""
    return on(device(), *registry().get("backbones", backbone)().tiny(attention))


def device() -> str:
    """The device of this session's tiny models."""
    return os.environ.get("TOKENBENCH_TEST_DEVICE", "cpu")


def on(where: str, model: Any, prompts: Sequence[Prompt], dtype: torch.dtype | None = None) -> tuple[Any, list[Prompt]]:
    """A model and its prompts on a device, in a type of numbers."""
    moved = [
        {name: value.to(where, dtype if value.is_floating_point() else None) for name, value in prompt.items()}
        for prompt in prompts
    ]
    return model.to(where, dtype), moved
