"""The contract of an executor: where the work of a run is done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import click

    from tokenbench.runner.job import Job
    from tokenbench.runner.progress import Progress
    from tokenbench.runner.work import Work

__all__ = ["Executor"]


class Executor(ABC):
    """Does the work of a run: in this process, or wherever it likes."""

    options: ClassVar[Sequence[click.Option]] = ()
    """What it adds to the command line of `run` and `resume`. Each option that a user gives is passed to the
    constructor under the option's name; without options the constructor takes no arguments."""
    in_process: ClassVar[bool] = False
    """Whether the work is done in this process, so that a strategy may be an object that only this process has."""

    def device(self, asked: str) -> str:
        """Return the device that models run on, for the one that a user asked for (`auto`, `cpu`, `cuda:1`, ...)."""
        return asked

    def check(self, works: Mapping[str, Work]) -> None:  # noqa: B027 (nothing to check is a fine answer)
        """Raise what can be known to be wrong before the run directory is touched.

        Args:
            works: What there is to do, by model.
        """

    @abstractmethod
    def run(self, job: Job, bar: Progress) -> None:
        """Do all of a job.

        Args:
            job: What is left to do.
            bar: To be told of every answer that is done.

        Raises:
            MachineError: What stops a worker, after the others have ended.
        """
