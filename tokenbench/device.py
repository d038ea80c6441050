"""Where a model runs, by the name that users write."""

from __future__ import annotations

import torch

from tokenbench.errors import MachineError, UsageError

__all__ = ["device_named"]

KINDS = ("cpu", "cuda", "mps", "xpu")


def device_named(text: str) -> str:
    """A device that torch can use here; `auto` is the first GPU, or the CPU.

    Raises UsageError for a name that is none, MachineError for a device that this machine does not have.
    """
    if text == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(text)
    except RuntimeError:
        device = None
    if device is None or device.type not in KINDS:
        raise UsageError(f"--device '{text[:40]}' is no device", "write auto, cpu, cuda or cuda:1")
    there = 1 if device.type == "cpu" else getattr(torch, device.type).device_count()
    if (device.index or 0) >= there:
        seen = f"{there} of them" if there else "no GPU"
        raise MachineError(f"--device {text}: torch sees {seen} here", "use --device auto")
    return text
