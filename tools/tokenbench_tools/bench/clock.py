"""Time stamps within generate(), and the time that selection takes within a prefill."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from tokenbench.engine.prefill import Prefill
from tokenbench.engine.probe import Attended
from tokenbench.engine.pruner import Pruner

__all__ = ["Marks", "Selecting", "selection_timed"]

# Everything that the engine does for a strategy alone: its stages (signals, `select`, gathering what stays), softmax rows,
# layers asked before they run, a second forward.
SELECTION = ((Prefill, "reduce"), (Attended, "rows"), (Pruner, "_peek"), (Prefill, "run_prior"))


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


class Selecting:
    """Adds up the outermost of nested stretches of time."""

    def __init__(self, cuda: bool, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds = 0.0
        self._cuda = cuda
        self._clock = clock
        self._within = False

    @contextmanager
    def running(self) -> Iterator[None]:
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


@contextmanager
def selection_timed(cuda: bool, clock: Callable[[], float] = time.perf_counter) -> Iterator[Selecting]:
    """Adds up what selection takes of everything that runs inside. clock: of seconds."""
    selecting = Selecting(cuda, clock)
    with ExitStack() as undo:
        for owner, name in SELECTION:
            original = getattr(owner, name)
            undo.callback(setattr, owner, name, original)
            setattr(owner, name, _timed(original, selecting))
        yield selecting


def _timed(function: Callable[..., Any], selecting: Selecting) -> Callable[..., Any]:
    @wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        with selecting.running():
            return function(*args, **kwargs)

    return timed
