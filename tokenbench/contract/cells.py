"""What the cells of a run are called, wherever they are named: in run directories, data frames, reports and options."""

__all__ = ["CELL", "FLOORS", "IDENTITY", "VANILLA"]

VANILLA = "vanilla"
"""The strategy that prunes nothing: every run has it, and everything is compared with it."""
FLOORS = ("random", "downsample")
"""The trivial baselines that every run has besides, unless they are not wanted."""
CELL = ("model", "strategy", "budget")
"""What a reader calls a cell: over all its seeds and tasks."""
IDENTITY = (*CELL, "seed", "task")
"""What tells the cells of a run apart: the columns that name one, in their order."""
