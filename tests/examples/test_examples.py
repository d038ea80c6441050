"""The examples, installed beside TokenBench in a fresh environment as a third party's packages are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import Environment, fresh
from tests.tokenbench.commands.test_running import call

EXAMPLES = Path(__file__).parents[2] / "examples"
WRITTEN = ("backbone", "suite", "report")
PACKAGES = ("strategy", *WRITTEN)
SMALL = ["--budgets", "1/9", "--limit", "2", "--no-floors", "-q"]


@pytest.mark.parametrize("kind", WRITTEN)
def test_an_example_is_what_new_writes(tmp_path: Path, kind: str) -> None:
    assert call("new", kind, f"example-{kind}", "-o", str(tmp_path / "new")) == 0
    for path in filter(Path.is_file, (tmp_path / "new").rglob("*")):
        there = EXAMPLES / f"tokenbench-example-{kind}" / path.relative_to(tmp_path / "new")
        assert there.read_text() == path.read_text(), f"write it again: tokenbench new {kind} example-{kind}"


@pytest.mark.slow
def test_the_python_interface_does_what_it_says(tmp_path: Path) -> None:
    script = [sys.executable, str(EXAMPLES / "python_api.py"), str(tmp_path / "run")]
    said = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert "kept 48 of 144 visual tokens" in said
    assert "24 answers" in said


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = fresh(tmp_path_factory.mktemp("fresh"))
    environment.install(*(EXAMPLES / f"tokenbench-example-{kind}" for kind in PACKAGES))
    return environment


@pytest.mark.slow
def test_examples_pass_their_own_tests(there: Environment) -> None:
    there.test(*(EXAMPLES / f"tokenbench-example-{kind}" for kind in PACKAGES))


@pytest.mark.slow
def test_examples_are_listed_checked_and_run(there: Environment) -> None:
    listed = there.run("tokenbench", "list", "plugins")
    assert all(f"tokenbench-example-{kind} 0.1.0" in listed for kind in PACKAGES)
    checked = there.run("tokenbench", "check", "tokenbench-example-strategy")
    assert "merger example-mean  sizes add up  ok" in checked
    assert "FAILED" not in checked
    strategies = "example-contrast,example-contrast+example-mean"
    there.run("tokenbench", "run", "--suite", "example-suite", "--strategies", strategies, *SMALL, "-o", "run")
    there.run("tokenbench", "report", "run", "--format", "example-report")
    text = (there.work / "run" / "report" / "example-report.txt").read_text()
    assert "toy-llava  example-contrast+example-mean  1/9" in text
