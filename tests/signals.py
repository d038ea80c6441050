"""Signals to the command line in a process of its own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.systems import only_posix


class Ended(NamedTuple):
    """How a process ended after a signal."""

    code: int
    told: str  # its standard error
    seconds: float  # after the signal


def signal_when(
    is_ready: Callable[[], bool], command: Sequence[str], number: int, pause: float = 0.0, timeout: float = 120
) -> Ended:
    """Start a command, and send it a signal a pause after it is ready, or after a minute."""
    only_posix("a signal is sent to a process")
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 60
    while not is_ready() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(pause)
    start = time.monotonic()
    process.send_signal(number)
    _, told = process.communicate(timeout=timeout)
    return Ended(process.returncode, told, time.monotonic() - start)
