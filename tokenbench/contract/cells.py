"""What the cells of a run are called, wherever they are named: in run directories, data frames, reports and options."""

__all__ = ["CELL", "FLOORS", "IDENTITY", "TRIVIAL", "VANILLA", "base_of", "is_trivial"]

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


def base_of(strategy: str) -> str:
    """Return ``random`` for ``A:random:seed=3``, the name of A's in a comparison of two runs."""
    return strategy.removeprefix("A:").removeprefix("B:").partition(":")[0]


def is_trivial(strategy: str) -> bool:
    """Whether a strategy is vanilla or a trivial baseline, of one run or of two together, whatever its parameters."""
    return base_of(strategy) in (*TRIVIAL, VANILLA)
