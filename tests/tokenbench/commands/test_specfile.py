"""Run specs as TOML files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tokenbench.commands.test_running import call

SPEC = """
suite = "image"
tasks = ["attribute"]
budgets = ["1/9", 64]
limit = 2
floors = false

[[strategies]]
name = "clse"
temp = 0.2
layers = [1, 3]
merger = "tome"

[[strategies]]
name = "attention"
schedule = "fastv"
"""


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "spec.toml"
    path.write_text(text)
    return str(path)


def test_a_file_says_what_the_command_line_would(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = written(tmp_path, SPEC)
    assert call("run", "--spec", spec, "-n") == 0
    shown = capsys.readouterr().out
    options = ["--tasks", "attribute", "--budgets", "1/9,64", "--limit", "2", "--no-floors"]
    assert call("run", "-n", "--strategies", "clse:temp=0.2:layers=1/3+tome,attention@fastv", *options) == 0
    assert capsys.readouterr().out == shown
    assert "clse:temp=0.2:layers=1/3+tome  64" in shown


def test_the_command_line_wins(tmp_path: Path, without_reports: None) -> None:
    spec = written(tmp_path, SPEC)
    folder = tmp_path / "run"
    assert call("run", "--spec", spec, "--budgets", "1/3", "--limit", "1", "-q", "-o", str(folder)) == 0
    used = json.loads((folder / "run.json").read_text())["spec"]
    assert used["budgets"] == ["1/3"]
    assert used["limit"] == 1
    assert used["tasks"] == ["attribute"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("suite = ", "is not TOML"),
        ("suit = 'image'", "suit: Extra inputs are not permitted (known: suite, tasks"),
        ("limit = 0", "limit: Input should be greater than or equal to 1"),
        ("[[strategies]]\ntemp = 1", "a strategy table has no name"),
        ("[[strategies]]\nname = 'clse'\ntmp = 1", "unknown parameter of 'clse' 'tmp': did you mean temp"),
        ("[[strategies]]\nname = 'clse'\ntemp = -1", "'clse': temp=-1: Input should be greater than 0"),
        ("strategies = ['clsse']", "unknown strategy 'clsse'"),
        ("strategies = ['fastv:layer=99']", "layer 99 cannot run on a decoder of 10 layers"),
        ("match = 'cost'", "match: Input should be 'nominal', 'tokens' or 'flops'"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "--spec", written(tmp_path, text), "-n") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "--spec", "nowhere.toml") == 2
    assert "run spec nowhere.toml: No such file" in capsys.readouterr().err
