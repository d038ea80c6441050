"""TokenBench as a model of lmms-eval: the same numbers in both directions, through the entry point and the documented command."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("lmms_eval", reason='needs lmms-eval: pip install "tokenbench[lmms]"')

import datasets
from loguru import logger

import tokenbench
from tests.docs.blocks import ROOT
from tests.suites.lmms.benchmarks import pope
from tests.tokenbench.commands.test_running import call
from tests.tokenbench.models.test_decoding import folder_with
from tokenbench import UsageError
from tokenbench_suites.lmms.adapter import TokenBench
from tokenbench_suites.lmms.index import find_lmms_eval


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and a YAML of POPE on it."""
    folder = tmp_path_factory.mktemp("adapter")
    pope(folder / "data")
    local = {
        "include": str(find_lmms_eval() / "tasks" / "pope" / "pope.yaml"),
        "task": "tb_pope",
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {"test": str(folder / "data" / "data" / "test-00000-of-00001.parquet")}},
    }
    (folder / "yaml").mkdir()
    (folder / "yaml" / "tb_pope.yaml").write_text(yaml.safe_dump(local))
    return folder


def documented() -> list[str]:
    """The command of the page on lmms-eval."""
    (command,) = re.findall(r"^\$ python (-m lmms_eval .*)", (ROOT / "docs" / "lmms-eval.md").read_text(), re.MULTILINE)
    return shlex.split(command)


@pytest.fixture(scope="module")
def theirs(folder: Path) -> dict[str, Any]:
    """Results and samples of the documented command, on a model and data that are here."""
    out = folder / "out"
    here = {
        "backbone=llava-1.5-7b,strategy=clse,budget=1/3": "backbone=toy-llava,strategy=clse,budget=1/3",
        "pope": "tb_pope",
    }
    assert here.keys() <= set(documented())
    command = [
        *(sys.executable, *(here.get(word, word) for word in documented())),
        *("--include_path", str(folder / "yaml"), "--output_path", str(out), "--log_samples", "--device", "cpu"),
        *("--gen_kwargs", "max_new_tokens=5", "--batch_size", "4"),
    ]
    environment = os.environ | {"LMMS_EVAL_DATASETS_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    results = sorted(out.rglob("*_results.json"))
    assert results, done.stdout[-2000:] + done.stderr[-4000:]
    (samples,) = out.rglob("*_samples_tb_pope.jsonl")
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    return {**json.loads(results[-1].read_text())["results"]["tb_pope"], "rows": rows}


@pytest.mark.slow
def test_both_directions_give_the_same_answers_and_numbers(
    folder: Path, theirs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokenbench_suites.lmms.benchmark import Benchmark

    stock = Benchmark.samples

    def short(self: Benchmark) -> Any:
        found = stock(self)
        self.max_new_tokens = 5
        return found

    monkeypatch.setattr(Benchmark, "samples", short)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    strategies = ["--strategies", "clse", "--budgets", "1/3", "--no-floors", "-q"]
    out = folder / "run"
    arguments = ["--suite", "lmms:pope", "--data", f"pope={folder / 'data'}", *strategies, "-o", str(out)]
    assert call("run", *arguments) == 0
    run = tokenbench.Run.open(out)
    official = run.official().query("strategy == 'clse'").set_index("metric")["value"]
    assert set(official.index) == {f"pope_{n}" for n in ("accuracy", "precision", "recall", "f1_score", "yes_ratio")}
    for metric, value in official.items():
        assert theirs[f"{metric},none"] == pytest.approx(value)
    ours = run.samples().query("strategy == 'clse'")["answer"]
    assert sorted(ours) == sorted(row["filtered_resps"] for row in theirs["rows"])


def test_the_readme_shows_the_documented_command() -> None:
    assert f"$ python {shlex.join(documented())}\n" in (ROOT / "README.md").read_text()


def test_a_misspelt_argument_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"unknown argument of the model tokenbench 'strategi'.*did you mean strategy"):
        TokenBench(backbone="toy-llava", strategi="fastv")
    with pytest.raises(UsageError, match="needs a backbone"):
        TokenBench()


def test_the_model_stays_after_a_task() -> None:
    model = TokenBench(backbone="toy-llava")
    model.clean()
    assert model._model.visual_tokens
    assert not model.is_simple


def test_what_a_checkpoint_asks_of_generation_is_said_and_left_out(tmp_path: Path) -> None:
    folder = folder_with("generation_config", {"repetition_penalty": 3.0}, tmp_path / "model")
    said: list[str] = []
    sink = logger.add(said.append, level="WARNING", format="{message}")
    try:
        TokenBench(backbone=str(folder))
        TokenBench(backbone="toy-llava")
    finally:
        logger.remove(sink)
    assert len(said) == 1
    assert "asks for repetition_penalty=3.0" in said[0]
