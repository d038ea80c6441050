"""What the cells of a run are called, wherever they are named: in run directories, data frames, reports and options."""

import re

__all__ = ["CELL", "FLOORS", "IDENTITY", "TRIVIAL", "VANILLA", "base_of", "is_trivial", "name_in", "plain_name"]

VANILLA = "vanilla"
"""The strategy that prunes nothing. Every run includes it, and everything is compared with it."""
FLOORS = ("random", "downsample")
"""The trivial baselines that every run includes unless they are turned off."""
TRIVIAL = (*FLOORS, "fewer-frames", "uniform", "pooling", "blind")
"""All trivial baselines: reports call every other strategy that prunes a method."""
CELL = ("model", "strategy", "budget")
"""The columns that name what a reader calls a cell: all its seeds and tasks together."""
IDENTITY = (*CELL, "seed", "task")
"""The columns that tell the cells of a run apart, in their order."""


SUFFIX = re.compile(r"(#[A-Z]+)+$")
"""The end of the name of a strategy that several runs answered otherwise: the run it is from."""


def name_in(strategy: str, run: str) -> str:
    """Return ``clse#B``, the name of run B's clse where another run's clse answered otherwise."""
    return f"{strategy}#{run}"


def plain_name(strategy: str) -> str:
    """Return ``clse:temp=0.2`` for ``clse:temp=0.2#B``."""
    return SUFFIX.sub("", strategy)


def base_of(strategy: str) -> str:
    """Return ``random`` for ``random:seed=3#A``, the name of A's in a comparison of several runs."""
    return plain_name(strategy).partition(":")[0]


def is_trivial(strategy: str) -> bool:
    """Whether a strategy is vanilla or a trivial baseline, of one run or of several together, whatever its parameters."""
    return base_of(strategy) in (*TRIVIAL, VANILLA)
