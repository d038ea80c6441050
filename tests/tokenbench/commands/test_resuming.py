"""A run directory settles what is run, but not which files of the user are read: those are named again, and a message says how."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.faults import READS, Points, watched
from tests.folders import save
from tests.tokenbench.commands.test_running import call, table

SUITE = """
from pathlib import Path

import tokenbench
from PIL import Image
from tokenbench import Sample, Suite, Task


class Seen(Task):
    name, description = "seen", "What colour is it?"

    def __init__(self, folder):
        self._folder = folder

    def samples(self):
        answers = (self._folder / "answers.txt").read_text().split()
        return [Sample(f"s{i}", f"s{i}", "What color?", text, lambda i=i: [self.picture(i)]) for i, text in enumerate(answers)]

    def picture(self, i):
        return Image.new("RGB", (16, 16), (60 * i, 0, 0))

    def score(self, answer, sample):
        if (self._folder / "unscored").exists():
            raise ZeroDivisionError("no words")
        return float(answer == sample.target)


@tokenbench.hookimpl
def tokenbench_register_suites(register):
    register("pictured", lambda request: Suite("pictured", "", (Seen(request.data["seen"]),), "toy-llava"))
"""


pytestmark = pytest.mark.usefixtures("without_reports")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "my data"
    folder.mkdir()
    (folder / "answers.txt").write_text("red dark black")
    (tmp_path / "suite.py").write_text(SUITE)
    return folder


@pytest.fixture
def broken(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """A run of a model folder on a data folder, whose scorer failed; its error line."""
    (data / "unscored").touch()
    options = [
        *(
            "--suite",
            "pictured",
            "--plugin",
            str(tmp_path / "suite.py"),
            "--data",
            f"seen={data}",
            "--strategies",
            "fastv",
        ),
        *("--models", str(save("llava", tmp_path / "model")), "--budgets", "1/3", "--no-floors", "-q"),
    ]
    assert call("run", *options, "-o", str(tmp_path / "run")) == 3
    return last_line(capsys)


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_the_command_that_a_message_names_resumes_the_run(broken: str, data: Path, tmp_path: Path) -> None:
    (data / "unscored").unlink()
    command = broken.partition("when the cause is fixed: tokenbench ")[2].removesuffix(")")
    assert call(*shlex.split(command), "-q") == 0
    assert len(table(tmp_path / "run")) == 2 * 3


def test_every_command_names_the_one_that_goes_on_with_a_run_whose_cells_all_failed(
    broken: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, lines = str(tmp_path / "run"), set()
    for asked in (
        ["report", run],
        ["compare", run],
        ["compare", run, run],
        ["compare", run, run, "--peek"],
        ["plan", "--pilot", run],
        ["export", run, "--to", str(tmp_path / "exported")],
    ):
        assert call(*asked) == 2
        lines.add(last_line(capsys))
    (line,) = lines
    assert line.startswith(
        f"error: {run} has nothing to compare: 2 of its 2 cells failed (tokenbench status {run} says why;"
    )
    assert call("status", run) == 0
    (data / "unscored").unlink()
    command = line.partition("when the cause is fixed: tokenbench ")[2].removesuffix(")")
    assert call(*shlex.split(command), "-q") == 0
    assert len(table(tmp_path / "run")) == 2 * 3


def test_a_folder_that_only_the_run_names_is_not_read(
    broken: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (tmp_path / "run" / "run.json").read_bytes()
    resume = ["resume", str(tmp_path / "run"), "--plugin", str(tmp_path / "suite.py"), "-q"]
    named = ["--data", f"seen={data}"]
    for folder, more, option in (
        (data, [], f"--data seen={data}"),
        (tmp_path / "model", named, f"--models {tmp_path / 'model'}"),
    ):
        looks = Points((*READS, "open"))
        with watched(folder, looks):
            assert call(*resume, *more) == 2
        assert not looks.seen
        line = last_line(capsys)
        assert line.startswith("error: only the run directory, which may come from others, names the")
        assert option in line
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_data_elsewhere_are_another_run(
    broken: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is asked must not change under answers that are there."""
    data.rename(tmp_path / "moved")
    where = ["--data", f"seen={tmp_path / 'moved'}", "--models", str(tmp_path / "model")]
    assert call("resume", str(tmp_path / "run"), "--plugin", str(tmp_path / "suite.py"), *where, "-q") == 2
    assert "holds a run with other settings (data: " in last_line(capsys)


def test_a_relative_name_of_a_folder_is_not_taken_for_one_of_the_hub(
    broken: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run directory from others may name a folder below the one that the command is given in."""
    run = tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "private").mkdir()
    (tmp_path / "model").rename(tmp_path / "private" / "model")
    manifest = json.loads((run / "run.json").read_text())
    manifest["spec"]["models"] = ["private/model"]
    (run / "run.json").write_text(json.dumps(manifest))
    looks = Points((*READS, "open"))
    with watched(tmp_path / "private", looks):
        assert call("resume", str(run), "--plugin", "suite.py", "--data", f"seen={data}", "-q") == 2
    assert "--models private/model" in last_line(capsys)
    assert not [look for look in looks.seen if not look.startswith(("stat", "lstat"))]
