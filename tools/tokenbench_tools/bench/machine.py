"""The hardware and software that a measurement holds for, and the state the hardware was in."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

__all__ = ["conditions", "fingerprint"]

LIBRARIES = ("torch", "transformers")
GPU_STATE = ("clocks.sm", "temperature.gpu", "power.draw")


def fingerprint(device: str) -> dict[str, Any]:
    """What decides how fast a model runs here."""
    found: dict[str, Any] = {
        "device": device,
        "machine": platform.machine(),
        "system": platform.system(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
    }
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "gpu": properties.name,
            "gpu_bytes": properties.total_memory,
            "gpu_capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
        }
    return found


def conditions(device: str) -> dict[str, Any]:
    """Load of the machine; clock (MHz), temperature (degrees Celsius) and power (W) of a GPU, where nvidia-smi tells them."""
    found: dict[str, Any] = {"load": os.getloadavg()[0]} if hasattr(os, "getloadavg") else {}
    if device.startswith("cuda"):
        query = ["nvidia-smi", f"--query-gpu={','.join(GPU_STATE)}", "--format=csv,noheader,nounits"]
        try:
            told = subprocess.run(
                query, capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=10, check=True
            ).stdout
            number = torch.device(device).index or 0
            found |= dict(zip(GPU_STATE, told.splitlines()[number].split(", "), strict=True))
        except (OSError, subprocess.SubprocessError, ValueError, IndexError):
            return found
    return found


def _cpu() -> str:
    """Its name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
