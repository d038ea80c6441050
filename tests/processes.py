"""The command line in processes of their own, which can be killed at any moment; and what a model is asked in this one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.faults import watched
from tests.systems import only_posix
from tests.tokenbench.commands.test_running import call
from tokenbench.runner import passes

# Small, and with something of everything: several batches, tasks, strategies and seeds.
SMALL = [
    *("--strategies", "fastv,clse", "--budgets", "1/9", "--tasks", "attribute,counting"),
    *("--limit", "6", "--seeds", "0,1", "--batch-size", "4", "-q"),
]


def count_questions(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[Any, ...]]:
    """How often a model of this process is asked from now on, for each (strategy, budget, seed, question)."""
    found: Counter[tuple[Any, ...]] = Counter()
    own = passes._Run.prefill

    def counted(self: passes._Run, group: Any, prefix: Any) -> Any:
        plans = [self.plans[i] for i in group]
        found.update((plan.name, str(plan.budget), plan.seed, key) for plan in plans for key in self.asked.keys)
        return own(self, group, prefix)

    monkeypatch.setattr(passes._Run, "prefill", counted)
    return found


def started(arguments: Sequence[str], output: Path | None = None, fault: tuple[str, Path] | None = None) -> Any:
    """`tokenbench ARGUMENTS` in a new process. Its parent never ran a model: torch's threads do not survive a fork.

    output: where its standard error goes. fault: a system call and the run directory; it is killed just before it makes the call.
    """
    only_posix("a process that has loaded everything is forked, and killed at any moment")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tokenbench.runner.execute", "transformers.models.llava", "tests.processes"])
    process = context.Process(target=_run, args=(list(arguments), output, fault))
    process.start()
    return process


def _run(arguments: Sequence[str], output: Path | None, fault: tuple[str, Path] | None) -> None:
    only_posix("a process kills itself without a word")
    if output is not None:
        sys.stderr = output.open("w")
    if fault:
        wanted, folder = fault

        def watch(name: str, path: str) -> None:
            if f"{name} " == wanted[: len(name) + 1] and wanted[len(name) + 1 :] in path:
                os.kill(os.getpid(), signal.SIGKILL)

        with watched(folder, watch):
            call(*arguments)
    code = call(*arguments)
    sys.stderr.flush()
    sys.exit(code)
