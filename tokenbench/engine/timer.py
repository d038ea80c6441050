"""How long the engine works for selection alone: what a strategy's stages cost beside the model's own layers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

__all__ = ["SelectionTimer", "Timer"]

Timer = Callable[[], AbstractContextManager[object]]
"""Makes the context that everything runs in which the engine does for selection alone."""


class SelectionTimer:
    """Adds up the time of all such contexts, once it is the `timer` of a pruner.

    Of nested contexts only the outermost counts.

    Args:
        cuda: Whether to wait for the GPU at both ends of a context. Waiting itself takes time: do not use it in a
            pass that is timed.
        clock: A clock in seconds.
    """

    def __init__(self, cuda: bool, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds = 0.0
        self._cuda = cuda
        self._clock = clock
        self._running = False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Time what runs inside."""
        if self._running:
            yield
            return
        self._running, start = True, self._now()
        try:
            yield
        finally:
            self.seconds += self._now() - start
            self._running = False

    def _now(self) -> float:
        if self._cuda:
            torch.cuda.synchronize()
        return self._clock()
