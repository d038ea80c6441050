"""The executor that does all work in this process, one model after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tokenbench.contract.executor import Executor

if TYPE_CHECKING:
    from tokenbench.runner.job import Job
    from tokenbench.runner.progress import Progress
    from tokenbench.runner.work import Work

__all__ = ["Local"]


class Local(Executor):
    """Runs everything in this process. This is the default executor."""

    in_process = True

    def check(self, works: Mapping[str, Work]) -> None:
        """Check that all weights can be loaded, with one model in memory at a time."""
        for work in works.values():
            work.model.load()
            if len(works) > 1:
                work.model.release()

    def run(self, job: Job, bar: Progress) -> None:
        """Answer all batches of the job."""
        from tokenbench.runner.worker import Worker, WorkUnit

        worker = Worker(job.store, dict(job.works))
        for name, batches in job.left.items():
            worker.run_unit(WorkUnit(name, 0, len(batches)), bar)
