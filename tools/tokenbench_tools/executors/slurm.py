"""Workers as the tasks of a Slurm job array, which submitit submits."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tokenbench.contract.executor import Executor
from tokenbench.errors import MachineError, UsageError, brief
from tokenbench.registry.installation import install
from tokenbench.store.files import make_folder
from tokenbench_tools.executors import workers_option
from tokenbench_tools.executors.slurm_queue import Queue, Task, describe_refusal
from tokenbench_tools.executors.slurm_settings import Settings, read_settings
from tokenbench_tools.executors.slurm_share import Share, ShareOfRun

if TYPE_CHECKING:
    from tokenbench.runner.job import Job
    from tokenbench.runner.progress import Progress
    from tokenbench.runner.work import Work

__all__ = ["Slurm"]

ALL = "all"
OF_LOCAL = ("setup", "signal_delay_s", "stderr_to_stdout")
"""What tasks that are local processes take of the script's settings."""


class Slurm(Executor):
    """Workers as the tasks of a Slurm job array. A task that is lost is submitted again, while the others go on.

    Args:
        workers: How many tasks the array has.
        settings: Settings of the jobs, as texts `KEY=VALUE,KEY=VALUE` or as a table: the options of sbatch (partition, account, gres, ...), and timeout_min,
            mem_gb, setup, python and others. `cluster=local` runs the tasks as processes of this machine.

    Raises:
        MachineError: If submitit is not installed, or this machine has no Slurm.
        UsageError: If a setting is wrong.
    """

    options = (
        workers_option,
        click.Option(
            ["--slurm", "settings"],
            multiple=True,
            type=click.UNPROCESSED,  # a spec holds a table
            metavar="KEY=VALUE,…",
            help="Settings of the Slurm jobs, such as partition=gpu,gpus_per_node=1,timeout_min=240: options of sbatch, and setup, "
            "mem_gb, python and others. May be repeated.",
        ),
    )

    def __init__(
        self, workers: int = 0, settings: Iterable[str | Mapping[str, object]] | Mapping[str, object] = ()
    ) -> None:
        self._settings = read_settings(settings)  # first: a dry run reports wrong settings on any machine
        try:
            import submitit
        except ImportError:
            raise MachineError("submitit is not installed", install("slurm")) from None
        self._submitit, self._workers = submitit, workers or 1
        if not self._settings.local:
            Queue.check_commands()

    def device(self, asked: str) -> str:
        """Return the asked-for device; `auto` is a GPU if the settings ask for any."""
        return asked if asked != "auto" else "cuda" if self._settings.wants_gpu else "cpu"

    def check(self, works: Mapping[str, Work]) -> None:
        """Ask Slurm whether it would take the jobs."""
        if not self._settings.local:
            executor = _make_executor(self._submitit, self._settings, Path(), "tokenbench")
            Queue.try_out(executor._make_submission_file_text("true", ""), self._workers)

    def run(self, job: Job, bar: Progress) -> None:
        """Do all of a job."""
        from tokenbench.runner.job import units
        from tokenbench_tools.executors.slurm_watch import Watch

        todo = units(job.left, self._workers)
        parts = [part for i in range(self._workers) if (part := todo[i :: self._workers])]
        shares = [Share(i, part, sum(map(job.answers, part))) for i, part in enumerate(parts)]
        where, what = _digest(str(job.store.folder.resolve())), _digest(_describe_plan(job, parts))
        settings, prefix = self._settings, f"tokenbench-{where}-"
        jobs = _Jobs(self._submitit, settings, job, f"{prefix}{what}", len(parts))
        if not settings.local:
            jobs.adopt(shares, prefix, bar)
        left = [share for share in shares if share.job or job.count_settled(share.units) < share.answers]
        done = sum(share.answers for share in shares) - sum(share.answers for share in left)
        bar.advance(done, "done before")
        Watch(job, bar, jobs, left, settings.memory).run()


class _Jobs:
    """The jobs of a run: Slurm's, or processes of this machine.

    A job's name says which run and which work it is for, and which shares it does. Another process therefore finds the jobs of one that died, and
    believes nothing that lies in the run directory.
    """

    def __init__(self, submitit: Any, settings: Settings, job: Job, name: str, count: int) -> None:
        self._submitit, self._settings, self._job, self._name, self._count = submitit, settings, job, name, count
        self._folder = _fresh_folder(job.store.folder.resolve())
        self._task = ShareOfRun(str(job.store.folder.resolve()), job.plugin_files, job.device)
        self._queue = Queue(name)
        self._handles: dict[str, Any] = {}

    def adopt(self, shares: Sequence[Share], prefix: str, bar: Progress) -> None:
        """Give shares the tasks that an earlier process has submitted for them, and cancel the tasks that do something else.

        Raises:
            MachineError: Another user's jobs work on this run.
        """
        queue = Queue(prefix)
        if strangers := queue.strangers():
            raise MachineError(
                f"jobs of another user work on {self._job.store.folder}: {', '.join(strangers[:4])}",
                "wait for them, or ask for them to be cancelled",
            )
        theirs = {task.id: task for task in (queue.tasks() or {}).values() if task.active}
        by_number = {share.number: share for share in shares}
        others = []
        for task in theirs.values():
            share = by_number.get(self._share_of(task))
            if share is not None and not share.job and task.state != "COMPLETING":
                share.job = task.id
            else:
                others.append(task.id)
        if adopted := [share.job for share in shares if share.job]:
            bar.tell(f"waiting for jobs of an earlier process: {', '.join(adopted)}")
        if others:
            bar.tell(f"cancelling jobs of an earlier process that do different work: {', '.join(others)}")
            queue.cancel(others)
            while any(task.active for id, task in (queue.tasks() or theirs).items() if id in others):
                time.sleep(1)

    def submit(self, shares: Sequence[Share]) -> None:
        """Submit shares as one array, or as one job.

        Raises:
            UsageError: Slurm refuses them.
            MachineError: Slurm cannot take them now.
        """
        whole = len(shares) == self._count
        name = f"{self._name}-{ALL if whole else '.'.join(str(share.number) for share in shares)}"
        executor = _make_executor(self._submitit, self._settings, self._folder, name)
        try:
            handles = executor.map_array(self._task, [share.units for share in shares])
        except (self._submitit.core.utils.FailedJobError, self._submitit.core.utils.FailedSubmissionError) as error:
            raise describe_refusal(str(error)) from None
        for share, handle in zip(shares, handles, strict=True):
            share.job, share.handle = handle.job_id, handle
            self._handles[handle.job_id] = handle

    def tasks(self) -> Mapping[str, Task] | None:
        """Return the tasks of this run."""
        if not self._settings.local:
            return self._queue.tasks()
        return {job: Task(job, handle.state) for job, handle in self._handles.items()}

    def look_up(self, job: str) -> Task:
        """Return what is known of a task that has ended."""
        return Task(job, "FAILED") if self._settings.local else self._queue.look_up(job)

    def cancel(self, jobs: Sequence[str]) -> None:
        """Cancel jobs, and those that were submitted although their submission was interrupted."""
        if self._settings.local:
            for job in jobs:
                self._handles[job].cancel()
        else:
            self._queue.cancel(jobs)

    def _share_of(self, task: Task) -> int:
        """Return the share that a task does; -1 if it does something else."""
        match = re.fullmatch(rf"{re.escape(self._name)}-({ALL}|[\d.]+)", task.name)
        if not match:
            return -1
        index = int(task.id.partition("_")[2] or 0)
        numbers = list(range(self._count)) if match[1] == ALL else [int(part) for part in match[1].split(".")]
        return numbers[index] if index < len(numbers) else -1


def _make_executor(submitit: Any, settings: Settings, folder: Path, name: str) -> Any:
    if settings.local:
        executor = submitit.LocalExecutor(folder)
        own = {key: value for key, value in settings.script.items() if key in OF_LOCAL}
        gpus = settings.options.get("gpus_per_node", 0)
        own["gpus_per_node"] = int(gpus) if str(gpus).isdigit() else 1
        executor.update_parameters(timeout_min=settings.minutes, **own)
        return executor
    executor = submitit.SlurmExecutor(folder, python=settings.python)
    # Without a wckey of the user's, submitit would name one of its own, which some clusters refuse.
    options = {"wckey": None, **settings.options}
    try:
        executor.update_parameters(
            job_name=name,
            time=settings.minutes,
            wckey=options.pop("wckey"),
            additional_parameters=options,
            **settings.script,
        )
    except (AssertionError, NameError, TypeError, ValueError) as error:
        raise UsageError(f"--slurm: {brief(error)}") from None
    return executor


def _describe_plan(job: Job, parts: Sequence[Sequence[Any]]) -> str:
    """Describe what shares do: equal texts mean equal work."""
    batches = {
        name: [
            [batch.arms, [(task.name, sample.key, sample.digest) for task, sample in batch.questions]] for batch in left
        ]
        for name, left in job.left.items()
    }
    cells = [cell.id for work in job.works.values() for cell in work.cells.values()]
    units = [[(unit.model, unit.start, unit.stop) for unit in part] for part in parts]
    return json.dumps([batches, cells, units, job.device, job.plugin_files])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _fresh_folder(run: Path) -> Path:
    """Where submitit keeps its files.

    It unpickles what it finds there, so it must not find what others left in the run.
    """
    return Path(tempfile.mkdtemp(dir=make_folder(run / "logs" / "slurm", run), prefix=time.strftime("%Y%m%d-%H%M%S-")))
