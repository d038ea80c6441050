"""The command line in processes of their own, which can be killed at any moment; and what a model is asked in this one."""

from __future__ import annotations

import multiprocessing
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.tokenbench.test_run import call
from tokenbench.runner import passes

# Small, and with something of everything: several batches, tasks, strategies and seeds.
SMALL = [
    *("--strategies", "fastv,clse", "--budgets", "1/9", "--tasks", "attribute,counting"),
    *("--limit", "6", "--seeds", "0,1", "--batch-size", "4", "-q"),
]


def count_questions(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[Any, ...]]:
    """How often a model of this process is asked from now on, for each (strategy, budget, seed, question)."""
    found: Counter[tuple[Any, ...]] = Counter()
    own = passes._Run.__call__

    def counted(self: passes._Run, group: Any, prefix: Any) -> Any:
        plans = [self.plans[i] for i in group]
        found.update((plan.name, str(plan.budget), plan.seed, key) for plan in plans for key in self.asked.keys)
        return own(self, group, prefix)

    monkeypatch.setattr(passes._Run, "__call__", counted)
    return found


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
