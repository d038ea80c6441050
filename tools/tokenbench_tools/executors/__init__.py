"""Executors that share a run among machines."""

import click

__all__ = ["workers_option"]

workers_option = click.Option(
    ["--workers"],
    type=click.IntRange(min=1),
    help="How many workers share the run.  [default: with Ray one for each GPU or CPU, with Slurm 1]",
)
