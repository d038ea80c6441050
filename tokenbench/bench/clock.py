"""Time stamps within generate(), and the time that selection takes within a prefill."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

__all__ = ["Marks", "SelectionTimer"]


class Marks(LogitsProcessor):
    """Marks the start, and the moment the logits of every new token are there: CUDA events on a GPU, else the clock."""

    def __init__(self, cuda: bool) -> None:
        self._cuda = cuda
        self._marks: list[Any] = []
        if cuda:
            torch.cuda.synchronize()
        self._mark()

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self._mark()
        return scores

    def seconds(self) -> list[float]:
        """Until the first new token, and for every further one."""
        pairs = list(pairwise(self._marks))
        if self._cuda:
            torch.cuda.synchronize()
            return [a.elapsed_time(b) / 1000 for a, b in pairs]
        return [b - a for a, b in pairs]

    def _mark(self) -> None:
        if self._cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append(event)
        else:
            self._marks.append(time.perf_counter())


class SelectionTimer:
    """Adds up the time that a pruner works for selection alone, once it is the pruner's `timer`.

    Of nested stretches only the outermost counts.

    Args:
        cuda: Whether to wait for the GPU at both ends of a stretch.
        clock: Of seconds.
    """

    def __init__(self, cuda: bool, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds = 0.0
        self._cuda = cuda
        self._clock = clock
        self._within = False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """A stretch. On a GPU it waits for the work before it and its own, which costs time: not in a pass that is timed."""
        if self._within:
            yield
            return
        self._within, start = True, self._now()
        try:
            yield
        finally:
            self.seconds += self._now() - start
            self._within = False

    def _now(self) -> float:
        if self._cuda:
            torch.cuda.synchronize()
        return self._clock()
