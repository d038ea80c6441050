"""`tokenbench new`: what it writes is small, installs, passes its own test and the kit, and runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import Environment, fresh
from tests.tokenbench.commands.test_running import call
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


def test_a_strategy_runs_as_one_file(tmp_path: Path) -> None:
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


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return fresh(tmp_path_factory.mktemp("fresh"))


@pytest.mark.slow
@ONE_OF_EACH
def test_it_installs_and_passes_its_own_test(there: Environment, kind: str) -> None:
    there.run("tokenbench", "new", kind, f"my-{kind}")
    there.install(there.work / f"tokenbench-my-{kind}")
    there.run("python", "-m", "pytest", "-q", "-x", f"tokenbench-my-{kind}")


@pytest.mark.slow
def test_four_commands_from_nothing_to_a_comparison(there: Environment) -> None:
    there.run("tokenbench", "new", "strategy", "my-method")
    there.install(there.work / "tokenbench-my-method")
    assert "FAILED" not in there.run("tokenbench", "check", "my-method")
    assert "my-method" in there.run("tokenbench", "run", "--strategies", "my-method,clse", "--limit", "4", "-q")
