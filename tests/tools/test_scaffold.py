"""`tokenbench new`: what it writes is small, installs, passes its own test and the kit, and runs."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.environment import Environment, fresh
from tests.tokenbench.commands.test_running import call
from tokenbench.registry.plugins import Registry
from tokenbench.registry.suites import name_files, resolve_suite
from tokenbench.testing import check_suite
from tokenbench_tools.scaffold import KINDS

ONE_OF_EACH = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.slow
@ONE_OF_EACH
def test_it_keeps_the_contract_as_one_file(tmp_path: Path, kind: str) -> None:
    assert call("new", kind, f"my-{kind}", "-o", str(tmp_path / "new")) == 0
    assert call("check", str(tmp_path / "new" / f"tokenbench_my_{kind}.py")) == 0


@ONE_OF_EACH
def test_what_it_writes_is_clean(tmp_path: Path, kind: str) -> None:
    assert call("new", kind, f"my-{kind}", "-o", str(tmp_path / "new")) == 0
    for command in (["check", "--select", "E4,E7,E9,F,I,B,UP,RUF"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--config", "line-length=120", "."]
        subprocess.run(ruff, cwd=tmp_path / "new", check=True)


def test_a_strategy_is_at_most_15_lines_of_code(tmp_path: Path) -> None:
    assert call("new", "strategy", "my-method", "-o", str(tmp_path / "new")) == 0
    lines = (tmp_path / "new" / "tokenbench_my_method.py").read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 15


def test_a_strategy_runs_as_one_file(tmp_path: Path, without_reports: None) -> None:
    assert call("new", "strategy", "my-method", "-o", str(tmp_path / "new")) == 0
    few = ["--budgets", "1/9", "--tasks", "attribute", "--limit", "2", "-q", "--no-floors", "-o", str(tmp_path / "run")]
    plugin = str(tmp_path / "new" / "tokenbench_my_method.py")
    assert call("run", "--plugin", plugin, "--strategies", "my-method", *few) == 0


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("strategy", "My Method", "'My Method' is not a valid name for a strategy (use lower-case letters"),
        ("strategy", "2fast", "is not a valid name"),
        ("strategy", "fastv", "the strategy 'fastv' is already registered"),
        ("suite", "image", "the suite 'image' is already registered"),
        ("report", "reports", "a module tokenbench_reports is already installed"),
        ("strategy", "there", "already exists (choose another folder with -o)"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    name: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tokenbench-there").mkdir()
    assert call("new", kind, name) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["tokenbench-there"]


def make_table(folder: Path, pictures: str = "pictures") -> Path:
    """A table of twenty questions about four pictures."""
    (folder / pictures).mkdir(parents=True, exist_ok=True)
    lines = ["image,question,answer"]
    for color in ("red", "green", "blue", "yellow"):
        Image.new("RGB", (144, 144), color).save(folder / pictures / f"{color}.png")
        lines += [f"{pictures}/{color}.png,what color {number} ?,{color}|light {color}" for number in range(5)]
    (folder / "mine.csv").write_text("\n".join(lines))
    return folder / "mine.csv"


def test_a_suite_from_a_table_asks_and_scores_as_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_table(tmp_path)
    assert call("new", "suite", "my-colors", "--from", "mine.csv:scorer=contains") == 0
    (tmp_path / "mine.csv").rename(tmp_path / "moved.csv")
    monkeypatch.syspath_prepend(tmp_path / "tokenbench-my-colors")
    (task,) = importlib.import_module("tokenbench_my_colors").suite().tasks
    name, data = name_files("moved.csv:scorer=contains", (), Registry())
    (table,) = resolve_suite(name, (), Registry(), data)[0].tasks
    (tmp_path / "pictures").rename(tmp_path / "gone")  # the package has its own
    assert task.name == "mine"
    assert [sample.load()[0].size for sample in task.samples()] == [(144, 144)] * 20
    (tmp_path / "gone").rename(tmp_path / "pictures")
    assert [s.digest for s in task.samples()] == [s.digest for s in table.samples()]
    for ours, theirs in zip(task.samples(), table.samples(), strict=True):
        for answer in (f"it is light {ours.target} .", "red", "", "purple"):
            assert task.score(answer, ours) == table.score(answer, theirs)
    check_suite(importlib.import_module("tokenbench_my_colors").suite)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("strategy", "mine.csv", "a strategy is not made from a table (leave --from out, or make a suite)"),
        ("suite", "image", "'image' is not one table of questions (give a file, for example mine.csv)"),
        ("suite", "gone.csv", "the table gone.csv does not exist"),
        ("suite", "wrong.csv", "wrong.csv, line 2: column 'answer' is empty"),
        ("suite", "far/mine.csv", "which is not below its folder (move the pictures there"),
    ],
)
def test_what_is_no_right_table_becomes_no_package(
    kind: str,
    text: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    table = make_table(tmp_path)
    (tmp_path / "wrong.csv").write_text("image,question,answer\npictures/red.png,what ?,\n")
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "mine.csv").write_text(table.read_text().replace("pictures/", "../pictures/"))
    assert call("new", kind, "no-colors", "--from", text) in (2, 4)
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "tokenbench-no-colors").exists()


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return fresh(tmp_path_factory.mktemp("fresh"))


@pytest.mark.slow
def test_what_it_writes_installs_and_passes_its_own_tests(there: Environment) -> None:
    make_table(there.work)
    for kind in KINDS:
        there.run("tokenbench", "new", kind, f"my-{kind}")
    there.run("tokenbench", "new", "suite", "my-colors", "--from", "mine.csv")
    packages = [there.work / f"tokenbench-my-{name}" for name in (*KINDS, "colors")]
    there.install(*packages)
    (there.work / "pictures").rename(there.work / "gone")  # the package has its own
    there.test(*packages)
    there.run("tokenbench", "check", "my-colors")


@pytest.mark.slow
def test_four_commands_from_nothing_to_a_comparison(there: Environment) -> None:
    there.run("tokenbench", "new", "strategy", "my-method")
    there.install(there.work / "tokenbench-my-method")
    assert "FAILED" not in there.run("tokenbench", "check", "my-method")
    few = ("--tasks", "reading,counting", "--limit", "2", "-q")
    assert "my-method" in there.run("tokenbench", "run", "--strategies", "my-method,clse", *few)
