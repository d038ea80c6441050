"""Workers as one Slurm job array, by submitit; a task that was lost is submitted again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenbench.errors import MachineError, TokenBenchError, UsageError
from tokenbench.executors import Job, units
from tokenbench.progress import Progress, Silent
from tokenbench.work import Work
from tokenbench.worker import Unit, Worker

__all__ = ["Slurm"]

LOSSES = 3  # times that the tasks which were lost are submitted again


class Slurm:
    """workers: tasks of the array. settings: as `KEY=VALUE` texts, what submitit's executor takes (partition, timeout_min,
    gpus_per_node, mem_gb, …). cluster: `slurm`, or `local` for processes of this machine.
    """

    def __init__(self, workers: int = 0, settings: Sequence[str] = (), cluster: str = "slurm") -> None:
        try:
            import submitit
        except ImportError:
            raise MachineError("submitit is not installed", 'pip install "tokenbench[slurm]"') from None
        self._submitit, self._workers, self._cluster = submitit, workers or 1, cluster
        self._settings = dict(map(_setting, settings))

    def device(self, asked: str) -> str:
        """`auto` is a GPU where the job asks for any."""
        wants = any("gpu" in f"{name}={value}" and value != 0 for name, value in self._settings.items())
        return asked if asked != "auto" else "cuda" if wants else "cpu"

    def check(self, works: Mapping[str, Work]) -> None:
        """Weights are only loaded by the workers."""

    def run(self, job: Job, bar: Progress) -> None:
        executor = self._executor(job)
        shares = [share for i in range(self._workers) if (share := units(job.works, self._workers)[i :: self._workers])]
        shares = [sorted(share, key=lambda unit: list(job.works).index(unit.model)) for share in shares]
        task = _Share(str(job.store.folder.resolve()), job.plugin_files, job.device)
        for _ in range(LOSSES + 1):
            submitted = executor.map_array(task, shares)
            lost = []
            for share, handle in zip(shares, submitted, strict=True):
                if self._ended(handle):
                    answers = sum(
                        sum(map(len, job.works[unit.model].batches[unit.start : unit.stop]))
                        * len(job.works[unit.model].arms)
                        for unit in share
                    )
                    bar.advance(answers, f"task {handle.job_id}")
                else:
                    lost.append(share)
            if not lost:
                return
            shares = lost
        raise MachineError(
            f"{len(shares)} tasks were lost {LOSSES + 1} times, the last one was {handle.job_id}",
            f"its output is in {handle.paths.stderr}; the same command goes on",
        )

    def _executor(self, job: Job) -> Any:
        folder = job.store.folder.resolve() / "logs" / "slurm"
        try:
            executor = self._submitit.AutoExecutor(folder=folder, cluster=self._cluster)
            executor.update_parameters(name="tokenbench", **self._settings)
        except (RuntimeError, TypeError, ValueError, NameError) as error:
            raise UsageError(f"--slurm: {' '.join(str(error).split())[:300]}") from None
        return executor

    def _ended(self, handle: Any) -> bool:
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

    def __call__(self, share: Sequence[Unit]) -> TokenBenchError | None:
        try:
            worker = Worker.of_run(*self._of)
            for unit in share:
                worker.answer(unit, Silent())
        except TokenBenchError as error:
            return error
        return None


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals or not value:
        raise UsageError(f"--slurm '{text}' is not KEY=VALUE", "as in --slurm partition=gpu,gpus_per_node=1")
    return name, int(value) if value.isdigit() else value
