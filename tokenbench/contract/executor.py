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
    """Does the work of a run, in this process or elsewhere."""

    options: ClassVar[Sequence[click.Option]] = ()
    """The options that it adds to the commands `run` and `resume`. Each option that has a value is passed to the
    constructor under the option's name; without options the constructor takes no arguments."""
    in_process: ClassVar[bool] = False
    """Whether the work is done in this process, so that a strategy may be an object that only this process has."""

    def device(self, asked: str) -> str:
        """Return the device that models run on, for the one that a user asked for (`auto`, `cpu`, `cuda:1`, ...)."""
        return asked

    def check(self, works: Mapping[str, Work]) -> None:  # noqa: B027 (nothing to check is a fine answer)
        """Raise the errors that can be found before the run directory is touched.

        Args:
            works: The work of each model.
        """

    @abstractmethod
    def run(self, job: Job, bar: Progress) -> None:
        """Do all of a job.

        Args:
            job: The work that is left.
            bar: Is told of every answer that is done.

        Raises:
            MachineError: A worker cannot go on. The others have ended by then.
        """
