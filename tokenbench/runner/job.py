"""Where the work of a run is done: in this process, or by workers that an existing engine schedules.

A unit of work is a range of one model's batches, so that what cells share is shared. Workers write to the journals of the run
directory and skip what is there; so a lost worker costs the unit in flight, and a unit done twice counts once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenbench.runner.work import Batch, Work
    from tokenbench.runner.worker import Unit
    from tokenbench.store.directory import Store

__all__ = ["Job", "units"]

UNITS_A_WORKER = 4  # so that a slow or lost one holds up little


@dataclass(frozen=True)
class Job:
    """What there is to do. left: by model. plugin_files, device: what a worker elsewhere needs to make the same works."""

    store: Store
    works: Mapping[str, Work]
    left: Mapping[str, Sequence[Batch]]
    plugin_files: tuple[str, ...]
    device: str

    def answers(self, unit: Unit) -> int:
        """How many a unit has."""
        return sum(batch.answers for batch in self.left[unit.model][unit.start : unit.stop])


def units(left: Mapping[str, Sequence[Batch]], workers: int) -> list[Unit]:
    """The batches in units of nearly equal size, those of a model side by side."""
    from tokenbench.runner.worker import Unit

    found = []
    for name, batches in left.items():
        size = max(1, len(batches) // (UNITS_A_WORKER * workers))
        found += [Unit(name, start, min(start + size, len(batches))) for start in range(0, len(batches), size)]
    return found
