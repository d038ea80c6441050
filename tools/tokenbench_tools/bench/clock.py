"""Time stamps within generate()."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

__all__ = ["Marks"]


class Marks(LogitsProcessor):
    """Records the time at the start and whenever the logits of a new token are there.

    On a GPU it records CUDA events, elsewhere it reads the clock.
    """

    def __init__(self, cuda: bool) -> None:
        self._cuda = cuda
        self._marks: list[Any] = []
        if cuda:
            torch.cuda.synchronize()
        self._mark()

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Record the time, and leave the scores as they are."""
        self._mark()
        return scores

    def seconds(self) -> list[float]:
        """Return the seconds until the first new token, then those of every further one."""
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
