"""The share of a run that one task of Slurm has, and what the task does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tokenbench.errors import TokenBenchError

if TYPE_CHECKING:
    from tokenbench.runner.worker import WorkUnit

__all__ = ["Share", "ShareOfRun"]


@dataclass
class Share:
    """The units of one task."""

    number: int
    """Its number among the shares of the run."""
    units: Sequence[WorkUnit]
    """What it does."""
    answers: int
    """The number of answers of its units."""
    job: str = ""
    """The id of its task; empty if it has none."""
    handle: Any = None
    """submitit's job; None for that of an earlier process, whose files are not trusted."""
    settled: int = 0
    """The number of answers when it was submitted last."""
    losses: int = 0
    """How often in a row it was lost without a new answer."""
    since: float = 0.0
    """Since when its task seems to have ended, or to wait for ever; 0 if it does neither."""


class ShareOfRun:
    """Does some units of a run. Called in the task, it returns the error that a person can mend, if there was one.

    Args:
        folder: The run directory.
        plugin_files: The single-file plug-ins of the run.
        device: The device to run on.
    """

    def __init__(self, folder: str, plugin_files: tuple[str, ...], device: str) -> None:
        self._of = folder, plugin_files, device
        self._leaves = False

    def __call__(self, units: Sequence[WorkUnit]) -> TokenBenchError | None:
        """Do the units."""
        from submitit import JobEnvironment

        from tokenbench.runner.progress import Silent
        from tokenbench.runner.worker import Worker

        if JobEnvironment().global_rank:  # the environment of the cluster started a task several times
            return None
        try:
            worker = Worker.of_run(*self._of)
            for unit in units:
                worker.run_unit(unit, Silent())
        except TokenBenchError as error:
            if self._leaves:  # submitit ends the process by an exception, which a plug-in that was being loaded has turned into this one
                raise SystemExit from error
            return error
        return None

    def checkpoint(self, units: Sequence[WorkUnit]) -> Any:
        """Before a task is preempted or out of time: the same again; what is journaled by then is not done twice."""
        from submitit.helpers import DelayedSubmission

        self._leaves = True
        return DelayedSubmission(ShareOfRun(*self._of), units)
