"""Every strategy answers every task of the rendered suites: no cell is missing, failed or infeasible."""

from __future__ import annotations

from pathlib import Path

import pytest

import tokenbench
from tokenbench.registry.plugins import registry
from tokenbench.registry.suites import suite_alone


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["image", "video"])
def test_every_strategy_has_every_cell(suite: str, tmp_path: Path) -> None:
    names = registry().names("strategies")
    run = tokenbench.run(names, tmp_path, suite=suite, budgets="1/3", limit=2, floors=False, seeds=1)
    assert run.failures() == []
    tasks = {task.name for task in suite_alone(suite, registry()).tasks}
    found = set(zip(run.measured["strategy"], run.measured["task"], strict=True))
    assert found == {(name, task) for name in names for task in tasks}
