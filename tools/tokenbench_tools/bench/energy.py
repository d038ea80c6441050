"""The energy of a stretch of work on a GPU, as nvidia-smi reports its power."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from statistics import fmean

import torch

__all__ = ["joules_of"]

STRETCH = 3.0
"""Seconds of work whose power is averaged: recent cards report a mean over about a second."""
EVERY = "50"
"""Milliseconds between two readings."""


def joules_of(work: Callable[[], object], device: str) -> float | None:
    """Return the energy that the GPU takes for some work, the mean over as many times as fill a stretch.

    Args:
        work: The work.
        device: The GPU, by torch's name.

    Returns:
        Joules, those of an idle card included; None where nvidia-smi does not tell its power.
    """
    identity = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    return _measure(work, identity, lambda: torch.cuda.synchronize(device))


def _measure(work: Callable[[], object], identity: str, wait: Callable[[], object]) -> float | None:
    query = ["nvidia-smi", "-i", identity, "--query-gpu=power.draw", "--format=csv,noheader,nounits", "-lms", EVERY]
    try:
        reader = subprocess.Popen(
            query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8", errors="replace"
        )
    except OSError:
        return None
    try:
        start, times = time.perf_counter(), 0
        while time.perf_counter() - start < STRETCH:
            work()
            wait()
            times += 1
        seconds = time.perf_counter() - start
    finally:
        reader.terminate()
        told, _ = reader.communicate()
    watts = list[float]()
    for line in told.splitlines():
        with suppress(ValueError):  # "[N/A]", or half a line
            watts.append(float(line))
    return fmean(watts) * seconds / times if watts else None
