"""Workers as one Slurm job array, by submitit; a task that was lost is submitted again."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tokenbench.commands.options import Names, flat
from tokenbench.contract.executor import Executor
from tokenbench.errors import AGAIN, MachineError, TokenBenchError, UsageError, brief
from tokenbench.registry.installation import install
from tokenbench.store.files import make_folder
from tokenbench_tools.executors import workers_option

if TYPE_CHECKING:
    from tokenbench.runner.job import Job
    from tokenbench.runner.progress import Progress
    from tokenbench.runner.worker import WorkUnit

__all__ = ["Slurm"]

LOSSES = 3  # times that the tasks which were lost are submitted again
MINUTES = 24 * 60  # of a task; what it has not done by then is queued again
SHARED = ("timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node", "stderr_to_stdout")


class Slurm(Executor):
    """Workers as the tasks of a Slurm job array.

    Args:
        workers: How many tasks the array has.
        settings: Texts `KEY=VALUE` with what submitit takes (timeout_min, mem_gb, gpus_per_node, ...) and with Slurm's
            own options (partition, account, qos, ...). `cluster=local` runs the tasks as processes of this machine.

    Raises:
        MachineError: If submitit is not installed, or this machine has no Slurm.
        UsageError: If a setting is wrong.
    """

    options = (
        workers_option,
        click.Option(
            ["--slurm", "settings"],
            type=Names(),
            multiple=True,
            callback=lambda context, parameter, value: flat(value),
            help="Settings of the Slurm jobs, such as partition=gpu,gpus_per_node=1,timeout_min=1440.",
        ),
    )

    def __init__(self, workers: int = 0, settings: Sequence[str] = ()) -> None:
        try:
            import submitit
        except ImportError:
            raise MachineError("submitit is not installed", install("slurm")) from None
        self._submitit, self._workers = submitit, workers or 1
        self._settings = {"timeout_min": MINUTES, **dict(map(_setting, settings))}
        self._cluster = self._settings.pop("cluster", "slurm")
        self._executor(Path())  # what is wrong with the settings is found before a run is touched

    def device(self, asked: str) -> str:
        """Return the asked-for device; `auto` is a GPU if the settings ask for any."""
        wants = any("gpu" in f"{name}={value}" and value != 0 for name, value in self._settings.items())
        return asked if asked != "auto" else "cuda" if wants else "cpu"

    def run(self, job: Job, bar: Progress) -> None:
        """Do all of a job; a task that is lost is submitted again."""
        from tokenbench.runner.job import units

        executor = self._executor(_fresh_folder(job.store.folder.resolve()))
        todo = units(job.left, self._workers)
        shares = [share for i in range(self._workers) if (share := todo[i :: self._workers])]
        task = _Share(str(job.store.folder.resolve()), job.plugin_files, job.device)
        for _ in range(LOSSES + 1):
            submitted, lost = executor.map_array(task, shares), []
            try:
                for share, handle in zip(shares, submitted, strict=True):
                    if self._has_ended(handle):
                        bar.advance(sum(map(job.answers, share)), f"task {handle.job_id}")
                    else:
                        lost.append(share)
            finally:
                for handle in submitted:
                    if not handle.done():
                        handle.cancel()
            if not lost:
                return
            shares = lost
        raise MachineError(
            f"{len(shares)} tasks were lost {LOSSES + 1} times; the last one was {handle.job_id}",
            f"its output is in {handle.paths.stderr}; {AGAIN} to resume",
        )

    def _executor(self, folder: Path) -> Any:
        settings = {name if name in SHARED else f"slurm_{name}": value for name, value in self._settings.items()}
        try:
            executor = self._submitit.AutoExecutor(folder=folder, cluster=self._cluster)
        except (RuntimeError, ValueError) as error:
            raise MachineError(
                f"Slurm is not available on this machine: {brief(error)}",
                "to run the tasks as local processes, use --slurm cluster=local",
            ) from None
        try:
            executor.update_parameters(name="tokenbench", **settings)
        except (AssertionError, NameError, TypeError, ValueError) as error:
            raise UsageError(f"--slurm: {brief(error)}") from None
        return executor

    def _has_ended(self, handle: Any) -> bool:
        """Whether a task has done its share. Raises what a person can mend."""
        try:
            error = handle.result()
        except (self._submitit.core.utils.FailedJobError, self._submitit.core.utils.UncompletedJobError):
            return False
        if error is not None:
            raise error
        return True


class _Share:
    """What one task of the array does. Returns the error that a person can mend, if there was one."""

    def __init__(self, folder: str, plugin_files: tuple[str, ...], device: str) -> None:
        self._of = folder, plugin_files, device

    def __call__(self, share: Sequence[WorkUnit]) -> TokenBenchError | None:
        from tokenbench.runner.progress import Silent
        from tokenbench.runner.worker import Worker

        try:
            worker = Worker.of_run(*self._of)
            for unit in share:
                worker.run_unit(unit, Silent())
        except TokenBenchError as error:
            return error
        return None

    def checkpoint(self, share: Sequence[WorkUnit]) -> Any:
        """Before a task is preempted or out of time: the same again; what is journaled by then is not done twice."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, share)


def _fresh_folder(run: Path) -> Path:
    """Where submitit keeps its files.

    It unpickles what it finds there, so it must not find what others left in the run.
    """
    return Path(tempfile.mkdtemp(dir=make_folder(run / "logs" / "slurm", run), prefix=time.strftime("%Y%m%d-%H%M%S-")))


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals or not value:
        raise UsageError(
            f"--slurm '{text}' is not KEY=VALUE", "write, for example, --slurm partition=gpu,gpus_per_node=1"
        )
    return name, int(value) if value.isdigit() else value
