"""The most memory that a stretch of work took.

Only Linux and CUDA can begin to count anew; elsewhere it is that of the whole process.
"""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import torch

__all__ = ["peak_bytes", "reset_peak"]

_RESIDENT_KIB = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss


def reset_peak(cuda: bool) -> None:
    """Begin anew. Where the system cannot, the peak of a CPU process is that of its whole life, loading included."""
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    else:
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        except OSError:
            return


def peak_bytes(cuda: bool) -> int:
    """Since the last reset: what torch had allocated on the GPU, or the resident set of this process."""
    if cuda:
        return torch.cuda.max_memory_allocated()
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return _peak_of_life()


def _peak_of_life() -> int:
    """Peak memory of a process on systems without /proc."""
    try:
        import resource
    except ImportError:  # Windows
        now = psutil.Process().memory_info()
        return int(getattr(now, "peak_wset", now.rss))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RESIDENT_KIB
