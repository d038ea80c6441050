"""One sample that a model cannot be asked costs one sample, of all strategies alike; `--strict` makes it cost its task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tokenbench
from tests.tokenbench.commands.test_running import call, table
from tokenbench.store.directory import Store
from tokenbench.store.journals import Journals

SUITE = """
from pathlib import Path

import tokenbench
from PIL import Image
from tokenbench import Sample, Suite, Task

FOLDER = Path(__file__).parent


class Colours(Task):
    description = "What colour is it?"
    unit_rule = "mean+all"
    max_new_tokens = 2

    def __init__(self, name):
        self.name = name

    def samples(self):
        return [self.sample(i) for i in range(8)]

    def sample(self, i):
        words = FOLDER / f"{self.name}-{i}.txt"
        question = words.read_text() if words.exists() else "What color?"
        unit = f"pair {i // 2}" if self.name == "pairs" else ""
        origin = f"{self.name}.parquet, row {i}"
        return Sample(f"{self.name}-{i}", f"{self.name}-{i}", question, "red", lambda: [self.picture(i)], unit=unit, origin=origin)

    def picture(self, i):
        return Image.open(FOLDER / f"{self.name}-{i}.png").convert("RGB")

    def score(self, answer, sample):
        return float(answer == sample.target)


@tokenbench.hookimpl
def tokenbench_register_suites(register):
    register("colours", lambda: Suite("colours", "", (Colours("good"), Colours("pairs")), "toy-llava"))
"""
STRATEGIES = ("vanilla", "divprune", "fastv")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A suite of two tasks of eight pictures each; the units of one are pairs."""
    from PIL import Image

    for name in ("good", "pairs"):
        for i in range(8):
            Image.new("RGB", (40, 40), (200, 10 * i, 0)).save(tmp_path / f"{name}-{i}.png")
    (tmp_path / "plug.py").write_text(SUITE)
    return tmp_path


def run(place: Path, *more: str, output: str = "run") -> int:
    options = [
        "--suite",
        "colours",
        "--strategies",
        "fastv,divprune",
        "--budgets",
        "64",
        "--batch-size",
        "3",
        "--no-floors",
    ]
    return call("run", *options, "--plugin", str(place / "plug.py"), "-q", "-o", str(place / output), *more)


def resume(place: Path, *more: str) -> int:
    return call("resume", str(place / "run"), "--plugin", str(place / "plug.py"), "-q", *more)


def asked(folder: Path) -> dict[tuple[str, str], list[str]]:
    """The samples of every cell, by task and strategy."""
    return {
        (str(task), str(strategy)): sorted(rows["sample"])
        for (task, strategy), rows in table(folder).groupby(["task", "strategy"])
    }


def keys(task: str, *but: int) -> list[str]:
    return [f"{task}-{i}" for i in range(8) if i not in but]


def counts(place: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert call("status", str(place / "run"), "--plugin", str(place / "plug.py"), "--format", "json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_one_bad_sample_costs_one_sample_of_all_strategies_alike(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "good-2.png").write_bytes(b"no picture")
    assert run(place) == 0
    said = capsys.readouterr().err
    assert (
        "1 of 8 samples of task 'good' cannot be processed by the model and are left out for all strategies alike"
        in said
    )
    assert "sample 3 (good.parquet, row 2): UnidentifiedImageError" in said
    for (task, _), samples in asked(place / "run").items():
        assert samples == (keys("good", 2) if task == "good" else keys("pairs"))
    assert len(asked(place / "run")) == 2 * len(STRATEGIES)

    finished = tokenbench.Run.open(place / "run")
    assert not finished.failures()
    summary = finished.compare().summary
    assert set(summary.loc[summary["task"] == "good", "n"]) == {7}
    for name in ("summary.md", "report.html"):
        assert "good.parquet, row 2" in " ".join((place / "run" / "report" / name).read_text().split())
    found = counts(place, capsys)
    assert found["counts"] == {"done": 2 * len(STRATEGIES)}
    assert found["answers"] == found["samples"] == 3 * (7 + 8)


def test_whatever_is_wrong_with_a_sample_it_alone_is_left_out(
    place: Path, without_reports: None, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "good-0.png").write_bytes(b"")
    (place / "good-1.png").unlink()
    (place / "good-2.png").write_bytes((place / "good-2.png").read_bytes()[:60])
    (place / "good-4.txt").write_text("Is <image> red?")
    (place / "good-6.txt").write_text("very " * 600 + "red?")
    assert run(place) == 0
    assert "5 of 8 samples of task 'good'" in capsys.readouterr().err
    for (task, _), samples in asked(place / "run").items():
        assert samples == (keys("good", 0, 1, 2, 4, 6) if task == "good" else keys("pairs"))
    reasons = {one.sample: one.description for one in Store(place / "run").left_out.all()}
    for sample, reason in {
        "good-0": "UnidentifiedImageError",
        "good-1": "FileNotFoundError",
        "good-2": "OSError",
        "good-4": "its question contains <image>, which is the placeholder of an image",
        "good-6": "and the model's context 512",
    }.items():
        assert reason in reasons.pop(sample)
    assert not reasons


@pytest.mark.slow
def test_what_is_left_out_stays_so_until_it_is_tried_again(
    place: Path, without_reports: None, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = (place / "good-2.png").read_bytes()
    (place / "good-2.png").write_bytes(b"no picture")
    assert run(place) == 0
    first = table(place / "run")
    (place / "good-2.png").write_bytes(picture)
    assert resume(place) == 0
    pd.testing.assert_frame_equal(table(place / "run"), first)
    assert "left out" in capsys.readouterr().err
    assert resume(place, "--retry-failed") == 0
    assert set(map(len, asked(place / "run").values())) == {8}
    assert "left out" not in capsys.readouterr().err
    assert run(place, output="whole") == 0
    order = ["task", "strategy", "budget", "sample"]
    ours, theirs = (table(place / name).sort_values(order, ignore_index=True) for name in ("run", "whole"))
    pd.testing.assert_frame_equal(
        ours[[*order, "answer", "score", "kept"]], theirs[[*order, "answer", "score", "kept"]]
    )


@pytest.mark.slow
def test_a_run_that_was_broken_off_leaves_out_the_same(
    place: Path, without_reports: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "good-4.png").write_bytes(b"no picture")
    assert run(place, output="whole") == 0

    append, calls = Journals.append, [0]

    def dies(self: Journals, records: Any) -> None:
        append(self, records)
        calls[0] += 1
        if calls[0] == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Journals, "append", dies)
        assert run(place) == 130
    assert run(place) == 0
    pd.testing.assert_frame_equal(table(place / "run"), table(place / "whole"))


def test_a_unit_loses_all_its_samples(place: Path, without_reports: None, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "pairs-5.png").write_bytes(b"no picture")
    assert run(place) == 0
    assert {tuple(samples) for (task, _), samples in asked(place / "run").items() if task == "pairs"} == {
        tuple(keys("pairs", 4, 5))
    }
    assert "2 of 8 samples of task 'pairs'" in capsys.readouterr().err
    assert not list((place / "run" / "journal").iterdir())
    assert counts(place, capsys)["counts"] == {"done": 2 * len(STRATEGIES)}


def test_a_task_without_any_good_sample_fails(
    place: Path, without_reports: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(8):
        (place / f"good-{i}.png").write_bytes(b"no picture")
    assert run(place) == 3
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert (
        "task 'good': the model can process none of its samples; sample 1 (good.parquet, row 0): UnidentifiedImageError"
        in line
    )
    assert {task for task, _ in asked(place / "run")} == {"pairs"}
    assert counts(place, capsys)["counts"] == {"done": 3, "failed": 3}


def test_strictly_a_bad_sample_costs_its_task(
    place: Path, without_reports: None, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "good-2.txt").write_text("Is <image> red?")
    assert run(place, "--strict") == 3
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert "task 'good': sample good-2 (good.parquet, row 2) cannot be loaded: its question contains <image>" in line
    assert {task for task, _ in asked(place / "run")} == {"pairs"}


@pytest.mark.slow
def test_an_error_of_the_machine_leaves_no_sample_out(
    place: Path, without_reports: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A disk that fails for a moment says nothing about a picture."""
    code = SUITE.replace(
        "        return Image.open",
        "        if i == 2 and (FOLDER / 'down').exists():\n            raise OSError(5, 'Input/output error')\n        return Image.open",
    )
    (place / "plug.py").write_text(code)
    (place / "down").touch()
    assert run(place) == 3
    assert "Input/output error" in capsys.readouterr().err
    assert not list((place / "run" / "cells").glob("*.parquet"))
    (place / "down").unlink()
    assert resume(place, "--retry-failed") == 0
    assert set(map(len, asked(place / "run").values())) == {8}
