"""The exit code of `python -m lmms_eval` with our model.

lmms-eval catches what an evaluation raises, logs it, goes on with the next one of a `--config`, and exits with 0. What
it logs is seen here; the process then exits with the error's code, at the same point at which it would have exited with
0.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any, NoReturn

from loguru import logger

from tokenbench.errors import TokenBenchError, brief, printable

__all__ = ["tell_the_shell"]

FAILED = 1  # as for any Python program that ends with an error
_sinks: list[int] = []


def tell_the_shell() -> None:
    """Make this process fail from now on if lmms-eval's command line gives up an evaluation.

    It has to be called for every model.
    """
    while _sinks:
        with suppress(ValueError):  # lmms-eval removes all sinks when it begins
            logger.remove(_sinks.pop())
    _sinks.append(logger.add(_give_up, level="ERROR", filter=_of_the_command_line))


def _of_the_command_line(record: Any) -> bool:
    return bool(record["name"] == "lmms_eval.__main__" and record["function"] == "cli_evaluate")


def _give_up(_: str) -> None:
    """Called where lmms-eval handles the error, so that it is the current one."""
    error = sys.exc_info()[1]
    while error and error.__cause__:  # of an error after several tries, the error of the last one
        error = error.__cause__
    if isinstance(error, TokenBenchError):
        message, hint, code = str(error), error.hint, error.exit_code
    else:
        message = f"lmms-eval gave up: {brief(error)}" if error else "lmms-eval gave up"
        hint, code = "tokenbench doctor says whether the installed versions are the tested ones", FAILED
    sys.stderr.write(printable(f"error: {message}" + (f" ({hint})" if hint else "")) + "\n")

    def leave(status: Any = None) -> NoReturn:
        raise SystemExit(status or code)

    sys.exit = leave
