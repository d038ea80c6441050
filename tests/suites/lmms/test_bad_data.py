"""Local data that is not what a task wants: one error that names the task and what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("lmms_eval", reason='needs lmms-eval: pip install "tokenbench[lmms]"')

import datasets

from tests.fuzz.made import made_run
from tests.suites.lmms.benchmarks import picture, write
from tests.systems import pipe
from tokenbench.errors import MachineError, TokenBenchError, UsageError
from tokenbench.store.run import Run
from tokenbench_suites.lmms.benchmark import Benchmark
from tokenbench_suites.lmms.suites import OWN

ROW = {"id": "1", "question_id": "1", "question": "Is it?", "answer": "yes", "image_source": "a", "category": "random"}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        yield


def first_of(task: str, folder: Path) -> None:
    """Look at the first sample as a run does."""
    benchmark = Benchmark(task, folder, (OWN,))
    sample = benchmark.samples()[0]
    sample.load()
    benchmark.score("yes", sample)


def test_a_pipe_among_the_data_is_refused_before_anybody_reads_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write([{**ROW, "image": picture(1)}], tmp_path / "data" / "test-1.parquet")
    pipe(tmp_path / "data" / "test-0.parquet")
    with pytest.raises(MachineError, match=r"'pope': .*test-0\.parquet is not a regular file"):
        first_of("pope", tmp_path / "data")


@pytest.mark.parametrize("column", ["question", "image", "answer"])
def test_a_missing_column_is_named(column: str, tmp_path: Path) -> None:
    row = {**ROW, "image": picture(1)}
    del row[column]
    write([row], tmp_path / "data" / "test.parquet", image=column != "image")
    with pytest.raises(TokenBenchError, match="task 'pope'") as error:
        first_of("pope", tmp_path / "data")
    assert "\n" not in str(error.value)
    assert column in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("test.parquet", b"junk"),
        ("test.json", b"{"),
        ("test.csv", b"\xff\xfe\x00"),
        ("questions.txt", b"x"),
        ("state.json", b"[]"),
        ("a.arrow", b"x"),
    ],
)
def test_damaged_data_is_one_line(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TokenBenchError) as error:
        first_of("pope", tmp_path)
    assert "\n" not in str(error.value)
    assert "pope" in str(error.value)


def test_a_video_that_is_not_there_is_named(tmp_path: Path) -> None:
    pd.DataFrame([{"video": "clip", "question": "what", "answer": "red"}]).to_csv(
        tmp_path / "questions.csv", index=False
    )
    (tmp_path / "videos").mkdir()
    with pytest.raises(MachineError, match="clip"):
        first_of("msvd_qa", tmp_path)


def test_task_definitions_of_a_run_from_others_are_not_executed(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run")
    code = tmp_path / "run" / "code"
    code.mkdir()
    (code / "utils.py").write_text("import pathlib\npathlib.Path(__file__).with_name('owned').touch()\n")
    (code / "a.yaml").write_text("task: attribute\ndataset_path: x\ndoc_to_visual: !function utils.visual\n")
    manifest = json.loads((run / "run.json").read_text())
    manifest["spec"] |= {"suite": "lmms:attribute", "definitions": [str(code)]}
    (run / "run.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match="contain code") as error:
        Run.open(run).questions()
    assert "--tasks-dir" in error.value.hint
    assert not (code / "owned").exists()
