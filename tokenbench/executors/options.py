"""How a command says where a run is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tokenbench.commands.options import flat, list_option
from tokenbench.errors import UsageError

if TYPE_CHECKING:
    from tokenbench.executors import Executor

__all__ = ["executor_of", "executor_options"]

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--executor",
        type=click.Choice(["local", "ray", "slurm"]),
        default="local",
        show_default=True,
        help="Where the work is done: this process, a Ray cluster, a Slurm job array.",
    ),
    click.option(
        "--workers", type=click.IntRange(min=1), help="Of Ray or Slurm.  [default: Ray: one a GPU or CPU; Slurm: 1]"
    ),
    click.option("--ray-address", default="", help="A running Ray cluster.  [default: one on this machine]"),
    list_option("--slurm", help="Settings of the Slurm jobs: partition=gpu,gpus_per_node=1,timeout_min=1440."),
)


def executor_options(command: F) -> F:
    """Add the options to a command, which takes them as `executor`, a function that makes the executor they name."""

    @wraps(command)
    def wrapped(*args: Any, executor: str, workers: int | None, ray_address: str, slurm: Any, **options: Any) -> Any:
        named = partial(executor_of, executor, workers, ray_address, flat(slurm))
        return command(*args, executor=named, **options)

    decorated: Any = wrapped
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def executor_of(name: str, workers: int | None, ray_address: str, slurm: Sequence[str]) -> Executor:
    """Raises UsageError for options that are another executor's, MachineError for an engine that is not there."""
    for option, given, owner in (
        ("--workers", workers, ("ray", "slurm")),
        ("--ray-address", ray_address, ("ray",)),
        ("--slurm", slurm, ("slurm",)),
    ):
        if given and name not in owner:
            raise UsageError(f"{option} is for --executor {' or '.join(owner)}, not {name}")
    if name == "ray":
        from tokenbench.executors.ray import Ray

        return Ray(workers or 0, ray_address)
    if name == "slurm":
        from tokenbench.executors.slurm import Slurm

        return Slurm(workers or 0, slurm)
    from tokenbench.executors.local import Local

    return Local()
