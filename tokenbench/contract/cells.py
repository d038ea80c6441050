"""What the cells of a run are called, wherever they are named: in run directories, data frames, reports and options."""

__all__ = ["CELL", "FLOORS", "IDENTITY", "TRIVIAL", "VANILLA"]

VANILLA = "vanilla"
"""The strategy that prunes nothing. Every run includes it, and everything is compared with it."""
FLOORS = ("random", "downsample")
"""The trivial baselines that every run includes unless they are turned off."""
TRIVIAL = (*FLOORS, "uniform", "pooling", "blind")
"""All trivial baselines: reports call every other strategy that prunes a method."""
CELL = ("model", "strategy", "budget")
"""The columns that name what a reader calls a cell: all its seeds and tasks together."""
IDENTITY = (*CELL, "seed", "task")
"""The columns that tell the cells of a run apart, in their order."""
