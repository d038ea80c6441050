"""Errors where the code of a task meets data that it was not written for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tokenbench.errors import MachineError, TokenBenchError, brief

__all__ = ["report_misfit"]


@contextmanager
def report_misfit(task: str, row: int | None = None) -> Iterator[None]:
    """Turn whatever fails where a task's code meets its data into one error that names the task and the row.

    Args:
        task: The name of the task.
        row: The number of the row; None if no particular one is read.

    Raises:
        MachineError: If the task was not written for this data, for example because a column is missing.
    """
    where = f"task '{task}'" if row is None else f"task '{task}', row {row}"
    try:
        yield
    except TokenBenchError:
        raise
    except Exception as error:  # the task's own code may raise anything
        cause = error.__cause__ or error  # lmms-eval tries some of it again
        reason = f"has no column {cause}" if isinstance(cause, KeyError) else f"does not fit: {brief(cause)}"
        raise MachineError(f"{where}: its data {reason}", f"see tokenbench show {task}") from error
