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
from tokenbench.contract.suite import Video
from tokenbench.errors import MachineError, SampleError, TokenBenchError, UsageError
from tokenbench.store.run import Run
from tokenbench_suites.lmms.benchmark import Benchmark
from tokenbench_suites.lmms.suites import OWN
from tokenbench_suites.lmms.video import read_clip

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


def film(path: Path, frames: int) -> Path:
    import av
    import numpy as np

    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=4)
        stream.width, stream.height = 64, 48  # type: ignore[attr-defined]
        for k in range(frames):
            frame = np.full((48, 64, 3), 20 * k, dtype=np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))  # type: ignore[attr-defined]
        file.mux(stream.encode(None))  # type: ignore[attr-defined]
    return path


def test_a_clip_is_eight_frames_at_equal_steps(tmp_path: Path) -> None:
    video = read_clip(film(tmp_path / "a.mp4", 12))
    assert isinstance(video, Video)
    grey = [frame.getpixel((0, 0))[0] // 20 for frame in video.frames]  # type: ignore[index]
    assert [abs(a - b) <= 1 for a, b in zip(grey, [0, 2, 3, 5, 6, 8, 9, 11], strict=True)] == [True] * 8
    assert len(read_clip(film(tmp_path / "b.mp4", 1)).frames) == 8


def test_a_cut_clip_is_a_sample_error(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 12)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(SampleError, match=r"cannot be loaded|no frames|no video stream"):
        read_clip(path)


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
