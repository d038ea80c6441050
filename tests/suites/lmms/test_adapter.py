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
from tests.suites.lmms.logged_data import make_tasks
from tests.tokenbench.commands.test_running import call
from tests.tokenbench.models.test_decoding import folder_with
from tokenbench import UsageError
from tokenbench_suites.lmms.adapter import TokenBench, choose_device
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


@pytest.mark.slow
def test_two_processes_draw_what_a_run_draws_and_log_it_under_the_name_that_was_asked_for(tmp_path: Path) -> None:
    definitions = make_tasks(tmp_path)
    out, model = tmp_path / "two", "backbone=toy-llava,strategy=random,budget=1/9,seed=1,model_name=my/random"
    logs = tmp_path / "logs"
    command = [  # it listens on ports that the system chose; no name is looked up, and a machine may be busy for long
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
        *("--local-addr=127.0.0.1", "--rdzv-conf=read_timeout=600"),
        *("--log-dir", str(logs), "--redirects=3", "-m", "lmms_eval"),
        *("--model", "tokenbench", "--model_args", model, "--tasks", "tb_words", "--include_path", str(definitions)),
        *("--output_path", str(out), "--log_samples", "--device", "cpu"),
    ]
    environment = os.environ | {"LMMS_EVAL_DATASETS_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    said = [f"{path.relative_to(logs)}:\n{path.read_text()[-3000:]}" for path in sorted(logs.rglob("stderr.log"))]
    assert done.returncode == 0, "\n".join([*said, done.stderr[-3000:]])
    (samples,) = (out / "my__random").glob("*_samples_tb_words.jsonl")
    theirs = {row["doc_id"]: row["filtered_resps"] for row in map(json.loads, samples.read_text().splitlines())}

    run = tmp_path / "drawn"
    drawn = ["--strategies", "random", "--budgets", "1/9", "--seeds", "1", "--no-floors", "-q"]
    assert call("run", "--suite", "lmms:tb_words", "--tasks-dir", str(definitions), *drawn, "-o", str(run)) == 0
    ours = tokenbench.Run.open(run, definitions=[str(definitions)])
    rows = {key: sample.place for (_, key), sample in ours.questions().items()}
    answers = ours.samples(["sample", "answer"]).query("strategy == 'random'")
    assert {rows[key]: answer for key, answer in zip(answers["sample"], answers["answer"], strict=True)} == theirs


def test_each_of_several_processes_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert choose_device(None) == "auto"  # without a GPU
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert [choose_device(name) for name in (None, "cuda", "cpu", "cuda:1")] == ["cuda:3", "cuda:3", "cpu", "cuda:1"]
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert [choose_device(name) for name in (None, "cuda")] == ["auto", "cuda"]


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
