"""Public benchmarks from the command line, offline, on small local data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("lmms_eval", reason='needs lmms-eval: pip install "tokenbench[lmms]"')

import datasets

import tokenbench
from tests.suites.lmms.benchmarks import NINE, data_option, make, picture, write
from tests.tokenbench.commands.test_running import call
from tokenbench.models.model import Model
from tokenbench.registry.installation import install
from tokenbench.runner import execute as runner
from tokenbench_suites.lmms import index
from tokenbench_suites.lmms.benchmark import Benchmark

SMALL = ["--strategies", "fastv,clse", "--budgets", "1/9", "--seeds", "0", "--batch-size", "8", "-q"]
OWN = """
task: tb_colors
dataset_path: nothing/yet
test_split: test
output_type: generate_until
doc_to_visual: !function utils.visual
doc_to_text: question
doc_to_target: answer
generation_kwargs: {max_new_tokens: 4}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}
"""


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("public")
    make(folder)
    return folder


@pytest.fixture(scope="module")
def decoded() -> Counter[bytes]:
    """How often each picture was decoded while the cells ran."""
    return Counter()


@pytest.fixture(autouse=True, scope="module")
def _short_answers() -> Iterator[None]:
    """The toy model knows nothing of noise, and talks until it is stopped."""
    stock = Benchmark.samples

    def samples(self: Benchmark) -> Any:
        found = stock(self)
        self.max_new_tokens = 3
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Benchmark, "samples", samples)
        yield


@pytest.fixture(scope="module")
def finished(root: Path, decoded: Counter[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "nine"
    stock, execute = datasets.Image.decode_example, runner.execute
    running = []

    def counted(self: datasets.Image, value: dict[str, bytes], *rest: object, **more: object) -> object:
        decoded[value["bytes"]] += bool(running)
        return stock(self, value, *rest, **more)

    def executed(*arguments: Any) -> Any:
        running.append(True)
        try:
            return execute(*arguments)
        finally:
            running.clear()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.Image, "decode_example", counted)
        patch.setattr(runner, "execute", executed)
        assert (
            call(
                "run",
                "--suite",
                "image-public",
                "--tasks",
                ",".join(NINE),
                "--data",
                data_option(root),
                *SMALL,
                "-o",
                str(folder),
            )
            == 0
        )
    return folder


@pytest.mark.slow
def test_the_nine_run_end_to_end(finished: Path) -> None:
    frame = tokenbench.Run.open(finished).samples()
    assert set(frame["task"]) == set(NINE)
    assert set(frame["strategy"]) == {"vanilla", "fastv", "clse", "random", "downsample"}
    assert frame["score"].between(0, 1).all()
    official = pd.read_csv(finished / "report" / "official.csv")
    assert set(official["task"]) == set(NINE)
    assert {"pope_f1_score", "mme_perception_score", "gpt_eval_score", "ocrbench_accuracy"} <= set(official["metric"])
    summary = pd.read_csv(finished / "report" / "summary.csv").set_index(["strategy", "task"])
    assert summary.loc[("vanilla", "mme"), "n"] == 9  # pairs, not questions
    assert summary.loc[("vanilla", "mmbench_cn_dev"), "n"] == 6


@pytest.mark.slow
def test_a_picture_is_decoded_once_a_sample_however_many_cells(finished: Path, decoded: Counter[bytes]) -> None:
    """Five cells a task. A picture with one question is decoded once; one with several, at most once for each of them."""
    frame = tokenbench.Run.open(finished).samples()
    vanilla = frame[frame["strategy"] == "vanilla"]
    assert frame.groupby(["strategy", "budget", "seed"]).ngroups == 5
    questions = vanilla.groupby("cluster").size()
    assert len(decoded) == len(questions)
    assert sum(decoded.values()) <= len(vanilla)
    assert sum(times > 1 for times in decoded.values()) <= (questions > 1).sum()


@pytest.mark.slow
def test_a_finished_run_decodes_nothing_again(
    root: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Model, "prefill", None)
    arguments = [
        "--suite",
        "image-public",
        "--tasks",
        ",".join(NINE),
        "--data",
        data_option(root),
        *SMALL,
        "-o",
        str(finished),
    ]
    assert call("run", *arguments) == 0
    assert "official.csv" in capsys.readouterr().err


def test_a_task_the_code_never_mentions_runs_by_name(tmp_path: Path) -> None:
    package = Path(index.__file__).parents[1]
    assert not [path for path in package.rglob("*") if path.is_file() and b"docvqa_val_lite" in path.read_bytes()]
    rows = [
        {"questionId": str(i), "question": f"What is item {i}?", "image": picture(i), "docId": i, "answers": ["red", "dark red"]}
        for i in range(4)
    ]  # fmt: skip
    write(rows, tmp_path / "data" / "DocVQA" / "validation-00000-of-00001.parquet")
    arguments = ["--suite", "lmms:docvqa_val_lite", "--data", f"docvqa_val_lite={tmp_path / 'data'}", *SMALL]
    assert call("run", *arguments, "-o", str(tmp_path / "run")) == 0
    run = tokenbench.Run.open(tmp_path / "run")
    assert set(run.samples()["task"]) == {"docvqa_val_lite"}
    assert run.samples()["target"].eq("red | dark red").all()
    vanilla = run.samples().query("strategy == 'vanilla'")
    official = run.official().query("strategy == 'vanilla'")
    assert official["metric"].tolist() == ["anls"]
    assert official["value"].item() == pytest.approx(vanilla["score"].mean())


def test_own_definitions_and_an_image_folder(tmp_path: Path) -> None:
    definitions, data = tmp_path / "definitions", tmp_path / "data"
    definitions.mkdir()
    data.mkdir()
    (definitions / "colors.yaml").write_text(OWN)
    (definitions / "utils.py").write_text("def visual(doc):\n    return [doc['image']]\n")
    for i in range(3):
        picture(i).save(data / f"{i}.png")
    lines = [f'{{"file_name": "{i}.png", "question": "What color?", "answer": "red"}}' for i in range(3)]
    (data / "metadata.jsonl").write_text("\n".join(lines))
    arguments = ["--suite", "lmms:tb_colors", "--tasks-dir", str(definitions), "--data", f"tb_colors={data}", *SMALL]
    assert call("run", *arguments, "-o", str(tmp_path / "run")) == 0
    assert len(tokenbench.Run.open(tmp_path / "run").samples().query("strategy == 'vanilla'")) == 3


def test_video_questions_are_scored_without_a_judge(tmp_path: Path) -> None:
    import av

    (tmp_path / "videos").mkdir()
    for i in range(2):
        with av.open(str(tmp_path / "videos" / f"clip{i}.mp4"), "w") as file:
            stream = file.add_stream("mpeg4", rate=4)
            stream.width, stream.height = 64, 48  # type: ignore[attr-defined]
            for k in range(12):
                frame = np.full((48, 64, 3), 20 * k + i, dtype=np.uint8)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))  # type: ignore[attr-defined]
            file.mux(stream.encode(None))  # type: ignore[attr-defined]
    rows = [{"video": f"clip{i % 2}", "question": "what is it", "answer": "red"} for i in range(4)]
    pd.DataFrame(rows).to_csv(tmp_path / "questions.csv", index=False)
    arguments = ["--suite", "video-public", "--tasks", "msvd_qa", "--data", f"msvd_qa={tmp_path}", *SMALL]
    assert call("run", *arguments, "-o", str(tmp_path / "run")) == 0
    run = tokenbench.Run.open(tmp_path / "run")
    assert run.samples()["cluster"].nunique() == 2
    assert set(run.official()["metric"]) == {"contains", "exact_match"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--suite", "lmms:popee"], 2, "unknown lmms-eval task 'popee': did you mean pope"),
        (["--suite", "lmms"], 2, "name them: --suite lmms:TASK"),
        (["--suite", "lmms:"], 2, "no task after the colon"),
        (["--suite", "image:reading"], 2, "choose among its tasks with --tasks"),
        (["--suite", "image-public:ocr"], 2, "unknown task of the suite 'ocr'"),
        (["--suite", "lmms:pope", "--data", "gqa=/tmp"], 2, "unknown task of suite 'lmms' in --data 'gqa'"),
        (["--suite", "lmms:pope", "--data", "pope"], 2, "is not TASK=FOLDER"),
        (["--suite", "lmms:pope", "--data", "pope=/nowhere"], 2, "/nowhere of task 'pope' does not exist"),
        (["--suite", "lmms:pope", "--tasks-dir", "/nowhere"], 2, "/nowhere does not exist"),
        (["--suite", "lmms:pope", "--data", "pope=EMPTY"], 4, "cannot be read"),
        (["--suite", "lmms:pope"], 4, "about 255 MB, 9,000 questions on 500 images"),
        (["--suite", "image-public", "--tasks", "gqa"], 4, "hf download lmms-lab-encoder/GQA"),
        (
            ["--suite", "lmms:docvqa"],
            4,
            "the data of task 'docvqa_val' (lmms-lab-encoder/DocVQA) is not available locally",
        ),
        (
            ["--suite", "lmms:seedbench_ppl"],
            2,
            "asks for multiple_choice; TokenBench runs tasks that generate an answer",
        ),
    ],
)
def test_what_is_wrong_or_missing_is_one_line(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    given = [text.replace("EMPTY", str(tmp_path / "empty")) for text in arguments]
    assert call("run", "--strategies", "fastv", *given) == code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_without_lmms_eval_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(index, "find_spec", lambda name: None)
    for suite in ("lmms:pope", "image-public"):
        assert call("run", "--suite", suite, "--strategies", "fastv") == 4
        assert install("lmms") in capsys.readouterr().err
    assert call("list", "tasks") == 0
    assert "image-public  gqa" in capsys.readouterr().out


def test_a_task_that_asks_a_judge_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert call("run", "--suite", "lmms:activitynetqa", "--strategies", "fastv") == 2
    assert "calls a judge model" in capsys.readouterr().err


def test_a_task_shows_where_its_data_is_and_its_licence(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", "gqa") == 0
    out = capsys.readouterr().out
    assert "licence: CC BY 4.0" in out
    assert "size: about 70 MB" in out
