"""Devices, by the names that users write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

from tokenbench.errors import MachineError, UsageError

__all__ = ["check_device", "input_device", "read_device_map", "resolve_device"]

KINDS = ("cpu", "cuda", "mps", "xpu")
SPREADS = ("auto", "balanced", "balanced_low_0", "sequential")
"""The ways in which accelerate spreads modules over all devices."""


def resolve_device(text: str) -> str:
    """Return torch's name of a device; `auto` is the first GPU if there is one, else the CPU.

    Raises:
        UsageError: There is no device of this name.
    """
    if text == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if _device(text) is None:
        raise UsageError(f"unknown --device '{text[:40]}'", "use auto, cpu, cuda or cuda:1")
    return text


def check_device(text: str) -> None:
    """Check that this machine has a device.

    Raises:
        MachineError: It does not have the device.
    """
    device = _device(text)
    assert device is not None
    there = 1 if device.type == "cpu" else getattr(torch, device.type).device_count()
    if (device.index or 0) >= there:
        seen = f"{there} device{'s' if there > 1 else ''} of this type" if there else "no such device"
        raise MachineError(f"--device {text} is not available: torch sees {seen}", "use --device auto")


def read_device_map(text: str) -> str | dict[str, Any]:
    """Return a device map as transformers takes it.

    Args:
        text: A way of accelerate's, or a JSON object of devices by module.

    Raises:
        UsageError: It is neither.
    """
    if text in SPREADS:
        return text
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, Mapping) or not content or not all(_is_place(place) for place in content.values()):
        raise UsageError(
            f"--device-map '{text[:60]}' is neither {', '.join(SPREADS)} nor devices by module",
            'write a JSON file such as {"model.vision_tower": "cpu", "model.language_model": 0, "lm_head": 0}',
        )
    for module in content:  # accelerate would move all of the larger one to one place
        larger = next((one for one in content if one != module and f"{module}.".startswith(one and f"{one}.")), None)
        if larger is not None:
            raise UsageError(
                f"--device-map gives '{module[:60]}' a place twice: '{larger[:60]}' contains it",
                "name the other parts of the larger module one by one",
            )
    return dict(content)


def _is_place(place: object) -> bool:
    if isinstance(place, int) and not isinstance(place, bool):
        return place >= 0
    if place == "disk":
        return True
    return isinstance(place, str) and _device(place) is not None


def input_device(model: Any) -> torch.device:
    """Return the device on which a model takes its inputs: that of its first module that is not offloaded."""
    found: Any = next((p.device for p in model.parameters() if p.device.type != "meta"), model.device)
    return torch.device("cpu") if found.type == "meta" else found


def _device(text: str) -> torch.device | None:
    try:
        device = torch.device(text)
    except RuntimeError:
        return None
    return device if device.type in KINDS else None
