"""The work of a run, in units that executors give to workers.

A unit is a range of one model's batches, so that cells share what they have in common. Workers write to the journals of the run
directory and skip what is there. Therefore a lost worker costs only its current unit, and a unit that is done twice counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenbench.runner.batches import QuestionBatch
    from tokenbench.runner.work import Work
    from tokenbench.runner.worker import WorkUnit
    from tokenbench.store.directory import Store

__all__ = ["Job", "units"]

UNITS_PER_WORKER = 4
"""Several, so that a slow or lost worker delays the run only a little."""


@dataclass(frozen=True)
class Job:
    """The work that an executor has to do."""

    store: Store
    """The run directory."""
    works: Mapping[str, Work]
    """The work of each model, by the model's name."""
    left: Mapping[str, Sequence[QuestionBatch]]
    """The batches that are left, by model."""
    plugin_files: tuple[str, ...]
    """The single-file plug-ins, which a worker in another process has to load."""
    device: str
    """The device that models run on."""

    def answers(self, unit: WorkUnit) -> int:
        """Return the number of answers in a unit."""
        return sum(batch.answers for batch in self.left[unit.model][unit.start : unit.stop])

    def count_settled(self, units: Iterable[WorkUnit]) -> int:
        """Return how many answers of units need no more work, as the run directory says now.

        They are there, or their sample is left out, or their cell failed.
        """
        store, settled = self.store, 0
        left_out, answered, failed = store.left_out.questions(), {}, set()
        with store.journals.list_once():
            for unit in units:
                work = self.works[unit.model]
                for batch in self.left[unit.model][unit.start : unit.stop]:
                    for task, sample in batch.questions:
                        question = sample.key, sample.digest
                        if question in left_out.get((unit.model, task.name), ()):
                            settled += len(batch.arms)
                            continue
                        for cell in (work.cells[arm, task.name].id for arm in batch.arms):
                            if cell not in answered:
                                answered[cell] = store.answered_questions(cell)
                                failed |= {cell} if store.failure(cell) else set()
                            settled += question in answered[cell] or cell in failed
        return settled


def units(left: Mapping[str, Sequence[QuestionBatch]], workers: int) -> list[WorkUnit]:
    """Divide batches into units of nearly equal size. The units of a model are consecutive.

    Args:
        left: The batches that are left, by model.
        workers: The number of workers.
    """
    from tokenbench.runner.worker import WorkUnit

    todo = []
    for name, batches in left.items():
        size = max(1, len(batches) // (UNITS_PER_WORKER * workers))
        todo += [WorkUnit(name, start, min(start + size, len(batches))) for start in range(0, len(batches), size)]
    return todo
