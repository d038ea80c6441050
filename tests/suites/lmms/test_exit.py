"""The exit code of lmms-eval's command line with our model: 0 only if there are results."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("lmms_eval", reason='needs lmms-eval: pip install "tokenbench[lmms]"')

from tests.suites.lmms.benchmarks import pope
from tests.suites.lmms.command import evaluate_here
from tokenbench.errors import SampleError
from tokenbench_suites.lmms.adapter import TokenBench
from tokenbench_suites.lmms.contained import contain
from tokenbench_suites.lmms.index import find_lmms_eval

with contain():
    from lmms_eval import evaluator

MODEL = "backbone=toy-llava,strategy=fastv,budget=1/9"


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tasks `there`, on data, and `absent`, on none."""
    folder = tmp_path_factory.mktemp("exit")
    pope(folder / "data")
    file = folder / "data" / "data" / "test-00000-of-00001.parquet"
    for name, path in (("there", file), ("absent", file.with_name("absent.parquet"))):
        task = {
            "include": str(find_lmms_eval() / "tasks" / "pope" / "pope.yaml"),
            "task": name,
            "dataset_path": "parquet",
            "dataset_kwargs": {"data_files": {"test": str(path)}},
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(task))
    return folder


def arguments(tasks: Path, task: str = "there", model: str = MODEL) -> list[str]:
    one = ["--model", "tokenbench", "--model_args", model, "--tasks", task, "--include_path", str(tasks)]
    return [*one, "--limit", "1", "--device", "cpu", "--gen_kwargs", "max_new_tokens=1"]


@pytest.fixture
def code(tasks: Path) -> Callable[..., int]:
    """The exit code of `python -m lmms_eval`, in this process."""
    return partial(evaluate_here, tasks / "cache")


def test_a_run_with_results_succeeds(code: Any, tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code(*arguments(tasks)) == 0
    said = capsys.readouterr()
    assert "pope_accuracy" in said.out
    assert "error:" not in said.err


@pytest.mark.parametrize(
    ("model", "expected", "message"),
    [
        ("backbone=toy-lava", 2, "'toy-lava': did you mean toy-llava"),
        (f"{MODEL},strategi=fastv", 2, "error: unknown argument of the model tokenbench 'strategi'"),
        (f"{MODEL},batch_size=2", 1, "error: lmms-eval gave up: TypeError: "),
    ],
)
def test_what_was_asked_for_wrongly_fails_with_one_line_at_the_end(
    code: Any, tasks: Path, capsys: pytest.CaptureFixture[str], model: str, expected: int, message: str
) -> None:
    assert code(*arguments(tasks, model=model)) == expected
    assert message in capsys.readouterr().err


def test_an_evaluator_that_raises_fails_and_names_the_doctor(
    code: Any, tasks: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        import filelock._no_such_module  # noqa: F401

    monkeypatch.setattr(evaluator, "_enable_reentrant_filelocks", broken)
    assert code(*arguments(tasks)) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert "ModuleNotFoundError: No module named 'filelock._no_such_module'" in line
    assert "tokenbench doctor" in line


def test_a_sample_that_cannot_be_shown_fails_with_its_code(
    code: Any, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: Any) -> None:
        raise SampleError("the image cannot be shown")

    monkeypatch.setattr(TokenBench, "_sample", damaged)
    assert code(*arguments(tasks)) == SampleError.exit_code == 3


def test_of_several_runs_one_that_fails_is_enough_and_loses_no_other(
    code: Any, tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "runs.yaml"
    wrong = MODEL.replace("fastv", "fastw")
    runs = [{"tasks": "there", "model": "tokenbench", "model_args": model} for model in (wrong, MODEL)]
    file.write_text(yaml.safe_dump(runs))
    options = ["--limit", "1", "--device", "cpu", "--gen_kwargs", "max_new_tokens=1"]
    assert code("--config", str(file), "--include_path", str(tasks), *options) == 2
    assert "pope_accuracy" in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_fails_and_says_which_data_is_missing(tasks: Path) -> None:
    command = [sys.executable, "-m", "lmms_eval", *arguments(tasks, "absent")]
    environment = os.environ | {"LMMS_EVAL_DATASETS_CACHE": str(tasks / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: lmms-eval gave up: FileNotFoundError")
    assert "absent.parquet" in last
