"""The command in a report repeats the run: it is pasted, and lists the cells that the run's own command lists."""

from __future__ import annotations

import csv
import re
import shlex
from html import unescape
from pathlib import Path

import pytest
from PIL import Image

from tests.films import write_film
from tests.reports.made_up import made_up
from tests.tokenbench.commands.test_running import call
from tokenbench_reports.html import render_page
from tokenbench_reports.reproduce import command, conditions

COLORS = ("red", "green", "blue", "yellow")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a table of pictures and one of clips."""
    for color in COLORS:
        Image.new("RGB", (32, 32), color).save(tmp_path / f"{color}.png")
        write_film(tmp_path / f"{color}.mp4", 20)
    for name, column, ending in (("my questions", "image", "png"), ("clips", "video", "mp4")):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerows(
                [
                    (column, "question", "answer"),
                    *((f"{c}.{ending}", f"what color {k} ?", c) for c in COLORS for k in (1, 2)),
                ]
            )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cells(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert call(*arguments, "--dry-run") == 0
    return capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        "--suite image --tasks reading --limit 2",
        "--suite 'my questions.csv' --limit 4 --turns 2 --match tokens --held-out 2 --strict --seeds 4",
        "--suite image --tasks reading --limit 4 --until decided --looks 2 --spending pocock --margin 2",
        "--suite video --tasks motion --limit 2",
        "--suite 'my questions.csv:scorer=contains' --limit 2",
        "--suite clips.csv --models toy-video-llava --frames 12",
        "--suite 'clips.csv,my questions.csv' --models toy-video-llava --tasks clips --fps 4",
        "--suite csv:other --data 'other=my questions.csv'",
    ],
)
def test_the_command_of_the_page_lists_the_cells_of_the_run(
    options: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["run", *shlex.split(options), "--strategies", "fastv", "--budgets", "1/3", "--no-floors"]
    assert call(*asked, "-q", "-o", "mine") == 0
    page = (folder / "mine" / "report" / "report.html").read_text()
    said = unescape(re.search(r'<code id="command">(.*?)</code>', page, re.S)[1])  # type: ignore[index]
    name, *again = shlex.split(said.replace("other=FOLDER", "'other=my questions.csv'"))
    assert name == "tokenbench"
    assert cells(capsys, *again) == cells(capsys, *asked)
    assert str(folder) not in page
    sentence = "Run it in the folder that holds" if "s.csv" in options and "--data" not in options else "Replace FOLDER"
    assert (sentence in page) == ("s.csv" in options)


@pytest.mark.parametrize(
    ("suite", "data", "expected", "sentence"),
    [
        ("csv:mine", "mine=/home/me/mine.csv", "--suite mine.csv", "Run it in the folder that holds mine.csv, or write its path."),
        ("csv:a-b:scorer=vqa", "a-b=/x/a b.CSV", "--suite 'a b.CSV:scorer=vqa'", "Run it in the folder that holds a b.CSV, or write its path."),
        ("csv:a-b", "a-b=/x/a,b.csv", "--suite csv:a-b", "Replace FOLDER with the path to the data of a-b."),
        ("csv:mine", "mine=/x/yours.csv", "--data mine=FOLDER", "Replace FOLDER with the path to the data of mine."),
        ("lmms:pope", "pope=/x/pope", "--data pope=FOLDER", "Replace FOLDER with the path to the data of pope."),
        ("csv:a,parquet:b", "a=/x/a.csv b=/y/b.parquet", "--suite a.csv,b.parquet", "Run it in the folder that holds a.csv and b.parquet, or write their paths."),
    ],
)  # fmt: skip
def test_data_are_named_without_their_folders(suite: str, data: str, expected: str, sentence: str) -> None:
    texts = [f"{task}={place}" for task, place in re.findall(r"(\S+)=(.+?)(?= \w+=|$)", data)]
    about = {"spec": {"suite": suite, "data": texts, "strategies": ["fastv"], "frames": 8}, "tasks": {}}
    said = command(about)
    assert expected in said
    assert "--frames" not in said
    assert not re.search(r"=?/(home|x|y)/", said)
    assert conditions(about) == [sentence]


@pytest.mark.parametrize(("frames", "named"), [({}, False), ({"frames": "12 frames"}, True)])
def test_frames_are_chosen_only_where_there_are_clips(frames: dict[str, str], named: bool) -> None:
    about = {
        "spec": {"suite": "image", "strategies": ["fastv"], "frames": 12},
        "tasks": {"reading": {}, "seen": frames},
    }
    assert ("--frames 12" in command(about)) == named


def test_what_else_the_user_has_to_name_is_named() -> None:
    about = {
        "spec": {"suite": "lmms:mine", "definitions": ["/home/me/tasks"], "strategies": [], "strict": True},
        "plugin_files": ["/home/me/odd.py"],
        "unregistered": {"strategies": {"Loud": "__main__.Loud"}},
    }
    said = command(about)
    assert "--strategies vanilla" in said
    assert "--tasks-dir FOLDER --plugin odd.py --strict" in said
    assert conditions(about) == [
        "Run it in the folder that holds odd.py, or write its path.",
        "Replace FOLDER with the path to your task definitions.",
        "No plug-in registers Loud: pass the same objects to tokenbench.run, or register them first.",
    ]


def test_the_page_of_several_runs_has_a_command_for_each_and_one_that_joins_them() -> None:
    comparison, run = made_up({"a": 0.1})
    assert "This command repeats the run." in render_page(comparison, run)
    parents = [
        {"name": "monday", "spec": {"suite": "image", "strategies": ["fastv"]}},
        {"name": "on tuesday", "spec": {"suite": "image", "strategies": ["clse"]}},
    ]
    run.about = lambda: {"notes": [], "merged": parents}  # type: ignore[method-assign]
    page = render_page(comparison, run)
    assert "These commands repeat the runs." in page
    lines = command(run.about()).splitlines()
    assert lines == [
        "tokenbench run --suite image --strategies fastv --no-floors -o monday",
        "tokenbench run --suite image --strategies clse --no-floors -o 'on tuesday'",
        "tokenbench compare monday 'on tuesday'",
    ]
    merged = {"merged": [{**parent, "answers": "0"} for parent in parents]}
    assert command(merged).splitlines()[-1] == "tokenbench merge monday 'on tuesday' -o merged"
