"""What lmms-eval's own `simple_evaluate` makes of given answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml


class Stock(NamedTuple):
    """A task of lmms-eval on data that is here."""

    yaml: Path
    """Its definition."""
    data: Path
    """A parquet file."""
    split: str
    """The split that the task asks for."""
    process: bool = True
    """Whether the task processes the rows of the data."""


def evaluate(tasks: Mapping[str, Stock], said: Mapping[str, Sequence[str]], folder: Path) -> dict[str, dict[str, Any]]:
    """Return the results of every task, given the answers by row."""
    from lmms_eval.api.model import lmms
    from lmms_eval.evaluator import simple_evaluate
    from lmms_eval.tasks import TaskManager

    for name, task in tasks.items():
        local: dict[str, Any] = {
            "include": str(task.yaml),
            "task": f"stock_{name}",
            "dataset_path": "parquet",
            "dataset_name": None,
            "dataset_kwargs": {"data_files": {task.split: str(task.data)}},
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(local | ({} if task.process else {"process_docs": None})))

    class Fake(lmms):
        is_simple = True

        def generate_until(self, requests: Any) -> list[str]:
            return [said[r.args[4].removeprefix("stock_")][r.args[3]] for r in requests]

        def loglikelihood(self, requests: Any) -> Any:
            raise NotImplementedError

        def generate_until_multi_round(self, requests: Any) -> Any:
            raise NotImplementedError

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        found = simple_evaluate(
            Fake(), tasks=[f"stock_{name}" for name in tasks], task_manager=manager, verbosity="ERROR"
        )
    assert found is not None
    return {name: found["results"][f"stock_{name}"] for name in tasks}


def reported(results: Mapping[str, Any]) -> dict[str, float]:
    """The numbers in the results of a task, by metric."""
    numbers = {k.partition(",")[0]: v for k, v in results.items() if "," in k and "stderr" not in k}
    return {metric: value for metric, value in numbers.items() if isinstance(value, float | int)}
