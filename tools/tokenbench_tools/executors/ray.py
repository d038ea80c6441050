"""Workers on a Ray cluster: this machine's own, or one that runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tokenbench.contract.executor import Executor
from tokenbench.errors import MachineError, TokenBenchError, UsageError
from tokenbench.registry.installation import install
from tokenbench_tools.executors import workers_option
from tokenbench_tools.executors.ray_cluster import connect
from tokenbench_tools.executors.ray_pool import Pool

if TYPE_CHECKING:
    from tokenbench.runner.job import Job
    from tokenbench.runner.progress import Progress
    from tokenbench.runner.worker import WorkUnit

__all__ = ["Ray"]

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "error"}
"""Ray sends no statistics, and its C++ code prints no warnings into the progress."""
OWN_CLUSTER = "local"
"""What Ray calls a new cluster on this machine."""


class Ray(Executor):
    """Workers on a Ray cluster. A worker that is lost is replaced, and its unit is done again.

    Args:
        workers: How many; 0 stands for one for each GPU, or for each CPU if there is no GPU.
        address: The address of the cluster; empty for that in RAY_ADDRESS, or else for a new one on this machine.

    Raises:
        MachineError: If Ray is not installed, or the cluster cannot be reached or has no CPU for a worker.
        UsageError: If the cluster has no room for that many workers.
    """

    options = (
        workers_option,
        click.Option(
            ["--ray-address", "address"],
            default="",
            help="Address of a running Ray cluster.  [default: $RAY_ADDRESS, or a new cluster on this machine]",
        ),
    )

    def __init__(self, workers: int = 0, address: str = "") -> None:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        try:
            import ray
        except ImportError:
            raise MachineError("Ray is not installed", install("ray")) from None
        self._ray: Any = ray
        connect(ray, address or os.environ.get("RAY_ADDRESS") or OWN_CLUSTER)
        there: dict[str, float] = self._ray.cluster_resources()
        self._gpus, cpus = int(there.get("GPU", 0)), int(there.get("CPU", 0))
        room = self._gpus or cpus
        if not room:
            raise MachineError(
                "the Ray cluster has neither a GPU nor a CPU for workers",
                "add a node to it: ray start --address HOST:PORT",
            )
        if workers > room:
            raise UsageError(f"--workers {workers} is too many: the cluster has room for {room}")
        self._workers = workers or room

    def device(self, asked: str) -> str:
        """Return the asked-for device; `auto` is a GPU if the cluster has any."""
        return asked if asked != "auto" else "cuda" if self._gpus else "cpu"

    def run(self, job: Job, bar: Progress) -> None:
        """Do all of a job; see `Pool` for what happens to workers that are lost."""
        from tokenbench.runner.job import units

        actor = self._ray.remote(num_cpus=1, num_gpus=1 if self._gpus else 0)(_Actor)
        of = str(job.store.folder.resolve()), job.plugin_files, job.device
        pool = Pool(self._ray, lambda: actor.remote(*of), self._workers, bar.tell)
        for unit in pool.do(units(job.left, self._workers)):
            bar.advance(job.answers(unit), f"{unit.model}, batches {unit.start} to {unit.stop}")


class _Actor:
    """A worker of its own process, made with its first unit, so that what is wrong is reported as that unit's."""

    def __init__(self, folder: str, plugin_files: tuple[str, ...], device: str) -> None:
        self._of = folder, plugin_files, device
        self._worker: Any = None

    def place(self) -> str:
        """Return the name of the machine that the worker is on."""
        import platform

        return platform.node()

    def answer(self, unit: WorkUnit) -> TokenBenchError | None:
        """Do a unit. Returns the error that a person can fix, if there was one."""
        from tokenbench.runner.progress import Silent
        from tokenbench.runner.worker import Worker
        from tokenbench.store.run_json import is_run

        try:
            if not is_run(Path(self._of[0])):
                raise MachineError(
                    f"the worker on {self.place()} cannot see {self._of[0]}",
                    "choose a run directory with -o that all machines of the cluster share",
                )
            self._worker = self._worker or Worker.of_run(*self._of)
            self._worker.run_unit(unit, Silent())
        except TokenBenchError as error:
            return error
        return None
