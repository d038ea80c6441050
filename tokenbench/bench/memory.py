"""The most memory that a stretch of work took."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

__all__ = ["peak_bytes", "reset_peak"]

_RESIDENT_KIB = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss


def reset_peak(cuda: bool) -> None:
    """Begin anew. Where the system cannot, the peak of a CPU process is that of its whole life, loading included."""
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    else:
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return


def peak_bytes(cuda: bool) -> int:
    """Since the last reset: what torch had allocated on the GPU, or the resident set of this process."""
    if cuda:
        return torch.cuda.max_memory_allocated()
    try:
        (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RESIDENT_KIB
