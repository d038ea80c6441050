"""Executors that share a run among machines."""

import click

from tokenbench.commands.options import Whole

__all__ = ["workers_option"]

workers_option = click.Option(
    ["--workers"],
    type=Whole(min=1),
    help="Number of Ray or Slurm workers.  [default: one per GPU or CPU with Ray, 1 with Slurm]",
)
