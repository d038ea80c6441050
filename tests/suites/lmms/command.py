"""The command line of lmms-eval in this process: another one would import all that this one has, and read the definitions of all tasks."""

from __future__ import annotations

import sys
from functools import cache, partial
from pathlib import Path

import pytest
from loguru import logger

from tokenbench_suites.lmms.contained import contain

with contain():  # its import changes Pillow, random numbers and more for all tests that come after
    import lmms_eval.__main__
    from lmms_eval.cli.dispatch import main
    from lmms_eval.tasks import TaskManager

__all__ = ["evaluate_here"]

_indexed = cache(partial(TaskManager, include_defaults=False))  # reading the definitions of all tasks takes seconds


def evaluate_here(data_cache: Path, *words: str) -> int:
    """Return the exit code of `python -m lmms_eval` with some arguments. What it changes of this process is undone, but not what it registers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMMS_EVAL_DATASETS_CACHE", str(data_cache))
        patch.setenv("VERBOSITY", "INFO")
        patch.setattr(sys, "exit", sys.exit)  # given back afterwards
        patch.setattr(lmms_eval.__main__, "TaskManager", _indexed)
        patch.setattr(sys, "argv", ["lmms_eval", *words])
        try:
            main()
            with pytest.raises(SystemExit) as end:
                sys.exit(0)  # what lmms_eval/__main__.py does after main()
        finally:
            logger.remove()  # what it writes to is closed after the test
    return int(end.value.code or 0)
