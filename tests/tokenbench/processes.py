"""The command line in processes of their own, which can be killed at any moment."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.tokenbench.test_run import call

# Small, and with something of everything: several batches, tasks, strategies and seeds.
SMALL = [
    *("--strategies", "fastv,clse", "--budgets", "1/9", "--tasks", "attribute,counting"),
    *("--limit", "6", "--seeds", "0,1", "--batch-size", "4", "-q"),
]


def started(arguments: Sequence[str], output: Path | None = None) -> Any:
    """`tokenbench ARGUMENTS` in a new process. Its parent never ran a model: torch's threads do not survive a fork.

    output: where its standard error goes.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["tokenbench.runner.execute", "transformers.models.llava", "tests.tokenbench.processes"]
    )
    process = context.Process(target=_run, args=(list(arguments), output))
    process.start()
    return process


def _run(arguments: Sequence[str], output: Path | None) -> None:
    if output is not None:
        sys.stderr = output.open("w")
    code = call(*arguments)
    sys.stderr.flush()
    sys.exit(code)
