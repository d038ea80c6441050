"""Why a task of Slurm ended without a result, in words, and what helps."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tokenbench_tools.executors.slurm_queue import Task

__all__ = ["Ending", "explain"]

NO_OUTPUT = "0:53"
"""The exit code with which Slurm ends a job whose output files it cannot open."""
MEMORY = re.compile(r"^slurmstepd.*(memory limit|oom|out of memory)", re.IGNORECASE | re.MULTILINE)
SIGNALS = {9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM", 6: "SIGABRT", 7: "SIGBUS"}
SHELL = 128
"""What a shell adds to the signal that killed its command, for its own exit code."""
LONGEST = 200


@dataclass(frozen=True)
class Ending:
    """Why a task ended without a result."""

    cause: str
    """The end of a sentence that begins with the task: `was preempted`."""
    mend: str = ""
    """What a person can do about it; empty if that is unknown."""
    again: bool = True
    """Whether the task is submitted again."""
    counts: bool = True
    """Whether it counts as a loss, of which a share bears a few only."""


def explain(task: Task, log: str | None, folder: str, memory: str) -> Ending:
    """Say why a task ended.

    Args:
        task: The task, as Slurm has it; its state is empty if Slurm no longer knows it.
        log: The end of its output; None if it wrote none.
        folder: The run directory.
        memory: The memory that it asked for, in words.
    """
    on = f" on {task.node}" if task.node else ""
    if task.state == "OUT_OF_MEMORY" or MEMORY.search(log or ""):
        had = f" ({memory})" if memory else ""
        return Ending(f"ran out of memory{on}{had}", "ask for more, such as --slurm mem_gb=32", again=False)
    if task.exit == NO_OUTPUT and log is None:
        mend = (
            f"choose a folder that all nodes see with -o, or leave the node out: --slurm exclude={task.node or 'NODE'}"
        )
        return Ending(f"could not write to {folder}{on}", mend, again=False)
    known = {
        "PREEMPTED": Ending(f"was preempted{on}", counts=False),
        "NODE_FAIL": Ending(f"lost its node{on}"),
        "BOOT_FAIL": Ending(f"lost its node{on}"),
        "TIMEOUT": Ending(f"reached its time limit{on}", "allow more time, such as --slurm timeout_min=600"),
        "DEADLINE": Ending("reached its deadline", "give a later one", again=False),
        "CANCELLED": Ending(f"was cancelled{on}"),
        "": Ending("ended without a result, and Slurm no longer knows why"),
    }
    if task.state == "FAILED" and task.reason == "BadConstraints":
        return Ending("asked for what no node has (BadConstraints)", "change --slurm", again=False)
    return known.get(task.state) or Ending(f"{_describe_exit(task)}{on}{_quote(log)}")


def _describe_exit(task: Task) -> str:
    code, _, signal = task.exit.partition(":")
    if code.isdigit() and int(code) > SHELL:
        signal = str(int(code) - SHELL)
    if signal and signal != "0":
        name = SIGNALS.get(int(signal), "") if signal.isdigit() else ""
        return f"was killed by signal {signal}{f' ({name})' if name else ''}"
    return f"ended with exit code {code}" if code and code != "0" else f"ended without a result ({task.state})"


def _quote(log: str | None) -> str:
    """Return the last line of a log that says something; those of Slurm only repeat the exit code."""
    lines = [
        line.strip()
        for line in (log or "").splitlines()
        if line.strip() and not line.startswith(("srun:", "slurmstepd:"))
    ]
    return f": {lines[-1][:LONGEST]}" if lines else ""
