"""A folder with a model of any supported architecture runs the whole path, images and generation included."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import tokenbench
from tests.folders import save
from tests.tiny import FEW
from tests.tokenbench.commands.test_running import call
from tokenbench.models.model import Model

RUN = ("run", "--suite", "image", "--strategies", "clse,fastv", "--budgets", "1/3", "--tasks", "attribute,counting")


def run(backbone: str, tmp_path: Path, *options: str) -> pd.DataFrame:
    folder = save(backbone, tmp_path / "model")
    assert (
        call(*RUN, "--limit", "4", "--seeds", "0", "--models", str(folder), "-o", str(tmp_path / "run"), *options) == 0
    )
    return tokenbench.Run.open(tmp_path / "run").samples()


@pytest.mark.parametrize("backbone", FEW)
def test_a_folder_runs_the_suite(backbone: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = run(backbone, tmp_path)
    assert len(table) == 5 * 2 * 4
    pruned = table[table["strategy"] != "vanilla"]
    assert (pruned["realised_tokens"] < pruned["visual_tokens"]).all()
    assert table[table["strategy"] == "vanilla"]["evidence_recall"].eq(1).all()


UNLIKE = """
import numpy as np
from PIL import Image
import tokenbench
from tokenbench import Sample, Suite, Task

class Unlike(Task):
    name = "unlike"
    max_new_tokens = 3

    def samples(self):
        return [
            Sample(str(i), str(i), "word " * (i + 1), "x", lambda i=i: [picture(i + j) for j in range(1 + i % 2)])
            for i in range(8)
        ]

    def score(self, answer, sample):
        return 0.5

def picture(seed):
    height, width = 16 + 8 * (seed % 3), 32 - 4 * (seed % 4)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))

@tokenbench.hookimpl
def tokenbench_register_suites(register):
    register("unlike", lambda: Suite("unlike", "", (Unlike(),)))
"""


@pytest.mark.parametrize("backbone", FEW)
def test_eight_unlike_images_in_a_batch_equal_eight_single_runs(
    backbone: str, tmp_path: Path, without_reports: None
) -> None:
    """Images of other sizes, one or two a prompt, prompts of other lengths."""
    folder = save(backbone, tmp_path / "model")
    (tmp_path / "unlike.py").write_text(UNLIKE)
    tables = []
    for size in ("8", "1"):
        arguments = (
            "run",
            "--suite",
            "unlike",
            "--plugin",
            str(tmp_path / "unlike.py"),
            "--strategies",
            "clse,fastv,clse-m",
        )
        arguments += (
            "--models",
            str(folder),
            "--budgets",
            "1/3",
            "--batch-size",
            size,
            "-o",
            str(tmp_path / size),
            "-q",
        )
        assert call(*arguments) == 0
        table = tokenbench.Run.open(tmp_path / size).samples()
        table["kept"] = table["kept"].map(list)
        tables.append(table[["strategy", "seed", "sample", "answer", "kept", "visual_tokens"]])
    pd.testing.assert_frame_equal(*tables)
    assert tables[0]["visual_tokens"].nunique() > 1


CLIPS = """
import numpy as np
from PIL import Image
import tokenbench
from tokenbench import Box, Sample, Suite, Task, Video

class Clips(Task):
    name = "clips"
    max_new_tokens = 3

    def samples(self):
        early = (Box(0, 0, 1, 1, 0, 0.5),)
        return [Sample(str(i), str(i // 2), "word " * (i + 1), "x", lambda i=i: [clip(i // 2)], early) for i in range(4)]

    def score(self, answer, sample):
        return 0.5

def clip(seed):
    frames = np.random.default_rng(seed).integers(0, 256, (4, 16, 24, 3), dtype=np.uint8)
    return Video([Image.fromarray(frame) for frame in frames], fps=2.0)

@tokenbench.hookimpl
def tokenbench_register_suites(register):
    register("clips", lambda: Suite("clips", "", (Clips(),)))
"""


@pytest.mark.parametrize("backbone", FEW)
def test_clips(backbone: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every model that takes clips runs them, and knows which tokens are early; the others say so."""
    folder = save(backbone, tmp_path / "model")
    (tmp_path / "clips.py").write_text(CLIPS)
    arguments = ("run", "--suite", "clips", "--plugin", str(tmp_path / "clips.py"), "--strategies", "clse,fastv")
    arguments += ("--models", str(folder), "--budgets", "1/3", "--seeds", "0", "-o", str(tmp_path / "run"), "-q")
    code = call(*arguments)
    if backbone == "llava":
        assert code == 2
        assert "does not accept videos" in capsys.readouterr().err
        return
    assert code == 0
    table = tokenbench.Run.open(tmp_path / "run").samples()
    vanilla, random = (table[table["strategy"] == name] for name in ("vanilla", "random"))
    assert vanilla["evidence_recall"].eq(1).all()
    assert random["evidence_recall"].between(0, 1, inclusive="left").all()
    assert (random["realised_tokens"] < random["visual_tokens"]).all()


def test_two_models_in_one_run_are_in_memory_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_reports: None
) -> None:
    loaded: set[str] = set()
    load, release = Model.load, Model.release
    monkeypatch.setattr(Model, "load", lambda self: (loaded.add(self.name), load(self)))
    monkeypatch.setattr(Model, "release", lambda self: (loaded.discard(self.name), release(self)))
    names = [str(save(name, tmp_path / name)) for name in ("llava", "qwen3-vl")]
    held: list[int] = []
    prefill = Model.prefill
    monkeypatch.setattr(Model, "prefill", lambda self, *a: (held.append(len(loaded)), prefill(self, *a))[1])
    assert (
        call(*RUN, "--limit", "2", "--seeds", "0", "--models", ",".join(names), "-o", str(tmp_path / "run"), "-q") == 0
    )
    assert set(held) == {1}
    table = tokenbench.Run.open(tmp_path / "run").samples()
    assert sorted(table["model"].unique()) == sorted(names)
    assert len(table) == 2 * 2 * 5 * 2
