"""All in this process, one model after the other."""

from __future__ import annotations

from collections.abc import Mapping

from tokenbench.contract.executor import Executor
from tokenbench.runner.job import Job
from tokenbench.runner.progress import Progress
from tokenbench.runner.work import Work
from tokenbench.runner.worker import Unit, Worker

__all__ = ["Local"]


class Local(Executor):
    """The default."""

    in_process = True

    def check(self, works: Mapping[str, Work]) -> None:
        """Weights that cannot be loaded are found here; one model at a time is in memory."""
        for work in works.values():
            work.model.load()
            if len(works) > 1:
                work.model.release()

    def run(self, job: Job, bar: Progress) -> None:
        worker = Worker(job.store, dict(job.works))
        for name, batches in job.left.items():
            worker.answer(Unit(name, 0, len(batches)), bar)
