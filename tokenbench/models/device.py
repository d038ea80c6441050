"""Devices, by the names that users write."""

from __future__ import annotations

import torch

from tokenbench.errors import MachineError, UsageError

__all__ = ["check_device", "resolve_device"]

KINDS = ("cpu", "cuda", "mps", "xpu")


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


def _device(text: str) -> torch.device | None:
    try:
        device = torch.device(text)
    except RuntimeError:
        return None
    return device if device.type in KINDS else None
