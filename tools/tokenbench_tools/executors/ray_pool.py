"""Ray actors that do the units of a run. One that is lost is replaced, and its unit is done again.

Ray could restart actors and repeat their calls by itself. It would then count a call that could not be delivered for a moment like a loss,
and would not say which unit kills its workers.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tokenbench.errors import AGAIN, MachineError, TokenBenchError, printable

if TYPE_CHECKING:
    from tokenbench.runner.worker import WorkUnit

__all__ = ["Pool"]

LOSSES = 3
"""The number of workers that one unit may cost before the run gives up."""
STARTS = 3
"""The number of attempts, for each worker, to start one before the run gives up, if none succeeds in between."""
PAUSE = 1.0
"""Seconds before a worker that could not be reached is asked again."""
REMIND = 30.0
"""Seconds without any news after which a person is told what is waited for."""
PATIENCE = 600.0
"""Seconds without any worker after which the run gives up."""


class Pool:
    """Actors, each doing one unit at a time.

    Args:
        ray: The library, connected to a cluster.
        make: Makes an actor with the methods `place()`, the name of its machine, and `answer(unit)`, which returns a TokenBenchError or None.
        workers: The largest number of actors at the same time.
        tell: Takes a sentence for the person who waits.
    """

    def __init__(self, ray: Any, make: Callable[[], Any], workers: int, tell: Callable[[str], object]) -> None:
        self._ray, self._make, self._workers, self._tell = ray, make, workers, tell
        self._todo: deque[WorkUnit] = deque()
        self._calls: dict[Any, tuple[Any, WorkUnit | None]] = {}
        """Every call that has not returned: its actor, and its unit; None for an actor that is asked whether it is there."""
        self._idle: list[Any] = []
        self._places: dict[Any, str] = {}
        self._losses: Counter[WorkUnit] = Counter()
        self._failed_starts = 0

    def do(self, units: Sequence[WorkUnit]) -> Iterator[WorkUnit]:
        """Do all units, and yield each once it is done. All actors have ended when this ends.

        Raises:
            TokenBenchError: An actor returned it.
            MachineError: One unit loses its worker again and again, or no worker can be started.
        """
        self._todo.extend(units)
        try:
            for _ in range(min(self._workers, len(units))):
                self._find_worker()
            while self._todo or any(unit for _, unit in self._calls.values()):
                done = self._take(self._wait())
                if done is not None:
                    yield done
        finally:
            for actor in [*self._idle, *(actor for actor, _ in self._calls.values())]:
                self._ray.kill(actor)

    def _wait(self) -> Any:
        """Return the next call that has returned. Says what is waited for if no worker is there."""
        begun = time.monotonic()
        while True:
            ready, _ = self._ray.wait(list(self._calls), timeout=REMIND)
            if ready:
                return ready[0]
            if any(unit for _, unit in self._calls.values()):
                begun = time.monotonic()
                continue
            waited = time.monotonic() - begun
            if waited > PATIENCE:
                raise MachineError(
                    f"no worker could be started on the Ray cluster for {waited / 60:.0f} minutes",
                    f"ray status shows what is missing; {AGAIN} to resume",
                )
            self._tell(f"waiting {waited:.0f} s for a node with room for a worker; ray status shows the cluster")

    def _take(self, call: Any) -> WorkUnit | None:
        """Take the result of a call, and give its actor, or the one that replaces it, something to do. Returns the unit that is done."""
        errors = self._ray.exceptions
        actor, unit = self._calls.pop(call)
        try:
            result = self._ray.get(call)
        except (
            errors.ActorUnavailableError
        ):  # it may be there, and even at work: a second worker would compute the same again
            time.sleep(PAUSE)
            self._call(actor, unit)
            return None
        except (
            errors.RayActorError,
            errors.OutOfMemoryError,
            errors.NodeDiedError,
            errors.WorkerCrashedError,
        ) as error:
            self._lose(actor, unit, error)
            return None
        if unit is None:
            self._failed_starts = 0
            self._places[actor] = result
        elif isinstance(result, TokenBenchError):
            self._idle.append(actor)
            raise result
        if self._todo:
            self._call(actor, self._todo.popleft())
        else:
            self._idle.append(actor)
        return unit

    def _call(self, actor: Any, unit: WorkUnit | None) -> None:
        call = actor.place.remote() if unit is None else actor.answer.remote(unit)
        self._calls[call] = actor, unit

    def _find_worker(self) -> None:
        """Ask an idle actor, or a new one, whether it is there."""
        self._call(self._idle.pop() if self._idle else self._make(), None)

    def _lose(self, actor: Any, unit: WorkUnit | None, error: Exception) -> None:
        """Replace an actor that is lost, or raise MachineError if that has been tried too often."""
        reason = _reason(error)
        if unit is None:
            self._failed_starts += 1
            if self._failed_starts >= STARTS * self._workers:
                raise MachineError(
                    f"no worker can be started on the Ray cluster: {reason}",
                    f"fix this, and {AGAIN} to resume",
                ) from None
        else:
            self._losses[unit] += 1
            what = f"{unit.model}, batches {unit.start} to {unit.stop}"
            where = self._places.get(actor, "the cluster")
            if self._losses[unit] >= LOSSES:
                raise MachineError(
                    f"{what}: {LOSSES} workers were lost with this unit, the last one on {where}: {reason}",
                    f"{AGAIN} to resume",
                ) from None
            self._tell(f"the worker on {where} was lost ({reason}); another one continues with {what}")
            self._todo.appendleft(unit)
        self._find_worker()


def _reason(error: Exception) -> str:
    """Return why an actor was lost, on one line. Ray's own text has a traceback and advice around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return printable(lines[-1])[:300] if lines else type(error).__name__
