"""Workers on a Ray cluster, this machine's own or one that runs.

Ray restarts lost ones and gives them their unit again.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import click

from tokenbench.contract.executor import Executor
from tokenbench.errors import AGAIN, MachineError, TokenBenchError, UsageError, brief
from tokenbench.registry.installation import install
from tokenbench_tools.executors import workers_option

if TYPE_CHECKING:
    from tokenbench.runner.job import Job
    from tokenbench.runner.progress import Progress
    from tokenbench.runner.worker import WorkUnit

__all__ = ["Ray"]

LOSSES = 5  # of one worker, before the run gives up


class Ray(Executor):
    """Workers on a Ray cluster.

    Args:
        workers: How many; 0 stands for one for each GPU, or for each CPU if there is no GPU.
        address: The address of the cluster; empty for a new one on this machine.

    Raises:
        MachineError: If Ray is not installed, or the cluster cannot be reached.
        UsageError: If the cluster has no room for that many workers.
    """

    options = (
        workers_option,
        click.Option(
            ["--ray-address", "address"],
            default="",
            help="Address of a running Ray cluster.  [default: a new cluster on this machine]",
        ),
    )

    def __init__(self, workers: int = 0, address: str = "") -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError:
            raise MachineError("Ray is not installed", install("ray")) from None
        self._ray: Any = ray
        try:
            if not ray.is_initialized():
                ray.init(
                    address=address or None,
                    include_dashboard=None if address else False,
                    log_to_driver=False,
                    logging_level=logging.WARNING,
                )
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = f"the Ray cluster at {address}" if address else "a Ray cluster on this machine"
            raise MachineError(f"cannot reach {where}: {brief(error)}") from None
        there = self._ray.cluster_resources()
        self._gpus = int(there.get("GPU", 0))
        self._workers = workers or self._gpus or int(there.get("CPU", 1))
        if self._workers > int(there.get("GPU" if self._gpus else "CPU", 1)):
            raise UsageError(
                f"--workers {workers} is too many: the cluster has room for {self._gpus or int(there.get('CPU', 1))}"
            )

    def device(self, asked: str) -> str:
        """Return the asked-for device; `auto` is a GPU if the cluster has any."""
        return asked if asked != "auto" else "cuda" if self._gpus else "cpu"

    def run(self, job: Job, bar: Progress) -> None:
        """Do all of a job; a worker that is lost is restarted and continues with its unit."""
        from tokenbench.runner.job import units

        ray, todo = self._ray, units(job.left, self._workers)
        remote = ray.remote(num_cpus=1, num_gpus=1 if self._gpus else 0, max_restarts=LOSSES, max_task_retries=LOSSES)(
            _Actor
        )
        actors = [
            remote.remote(str(job.store.folder.resolve()), job.plugin_files, job.device)
            for _ in range(min(self._workers, len(todo)))
        ]
        pool = ray.util.ActorPool(actors)
        try:
            for unit, error in pool.map_unordered(lambda actor, unit: actor.answer.remote(unit), todo):
                if error is not None:
                    raise error
                bar.advance(job.answers(unit), f"{unit.model}, batches {unit.start} to {unit.stop}")
        except ray.exceptions.RayActorError as error:
            raise MachineError(f"a worker was lost {LOSSES} times: {brief(error)}", f"{AGAIN} to resume") from None
        finally:
            for actor in actors:
                ray.kill(actor)


class _Actor:
    """A worker of its own process, made with its first unit, so that what is wrong is reported as that unit's."""

    def __init__(self, folder: str, plugin_files: tuple[str, ...], device: str) -> None:
        self._of = folder, plugin_files, device
        self._worker: Any = None

    def answer(self, unit: WorkUnit) -> tuple[WorkUnit, TokenBenchError | None]:
        from tokenbench.runner.progress import Silent
        from tokenbench.runner.worker import Worker

        try:
            self._worker = self._worker or Worker.of_run(*self._of)
            self._worker.run_unit(unit, Silent())
        except TokenBenchError as error:
            return unit, error
        return unit, None
