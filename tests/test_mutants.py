"""The lines of mutants.toml, broken one at a time in a copy of the project: quick tests must catch each.

It takes an hour, so that it is exhaustive: a scheduled job breaks all lines, and `python -m pytest -m exhaustive tests/test_mutants.py -k verdicts` breaks
those of files of that name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ("tokenbench", "strategies", "backbones", "suites", "reports", "tools", "tests")
FILES = tomllib.loads((ROOT / "tests" / "mutants.toml").read_text())
MUTANTS = [(name, line, broken) for name, file in FILES.items() for line, broken in file["mutants"]]

each = pytest.mark.parametrize(
    ("name", "line", "broken"), MUTANTS, ids=[f"{name}-{at}" for at, (name, *_) in enumerate(MUTANTS)]
)


@each
def test_the_line_is_there_once_and_can_be_broken(name: str, line: str, broken: str) -> None:
    source = (ROOT / name).read_text()
    assert source.count(line) == 1
    compile(source.replace(line, broken), name, "exec")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    for source in SOURCES:
        shutil.copytree(ROOT / source, folder / source, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def quick_tests(copy: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run them in a process that imports the copy. It keeps no bytecode, which would not notice two changes within a second."""
    paths = os.pathsep.join(str(copy / source) for source in (".", *SOURCES[1:-1]))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=900)


@pytest.mark.exhaustive
def test_quick_tests_pass_while_nothing_is_broken(copy: Path) -> None:
    found = quick_tests(copy, sorted({test for file in FILES.values() for test in file["tests"]}))
    assert found.returncode == 0, found.stdout


@pytest.mark.exhaustive
@each
def test_quick_tests_catch_it(copy: Path, name: str, line: str, broken: str) -> None:
    path = copy / name
    source = path.read_text()
    path.write_text(source.replace(line, broken))
    try:
        found = quick_tests(copy, FILES[name]["tests"])
    finally:
        path.write_text(source)
    assert found.returncode == pytest.ExitCode.TESTS_FAILED, f"no test fails if {line!r} is {broken!r}"
    assert "\nFAILED " in found.stdout, found.stdout  # a copy that cannot be imported would show nothing
