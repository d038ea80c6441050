"""The tables about all methods are made from the tests and the code, and no recorded decision is without a test."""

from __future__ import annotations

import importlib.util
import tomllib
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.strategies.recorded import all_cases
from tokenbench.registry.plugins import registry

DOCS = Path(__file__).parents[2] / "docs"
TESTS = [import_module(f"tests.strategies.test_recorded_{what}") for what in ("decoder", "encoder", "further")]


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("method_tables", DOCS / "_ext" / "method_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(name: str) -> dict[str, Any]:
    return tomllib.loads((DOCS / name).read_text(encoding="utf-8"))


def cases_of_tests() -> set[tuple[str, str]]:
    """(method, case) of every test that takes a recorded case."""
    tests = [test for module in TESTS for name, test in vars(module).items() if name.startswith("test_")]
    marks = [mark for test in tests for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    return {(case.method, case.name) for mark in marks if mark.args[0] == "case" for case in mark.args[1]}


def test_every_recorded_decision_has_a_test_and_is_counted() -> None:
    """All of these tests pass, or this suite fails; docs/count_recorded.py writes the counts anew."""
    tested = cases_of_tests()
    recorded = {(method, name) for method, names in all_cases().items() for name in names}
    assert tested == recorded
    counted = {method: (found["cases"], found["equal"]) for method, found in read("recorded.toml").items()}
    assert counted == {method: (len(names), len(names)) for method, names in all_cases().items()}


def test_whole_prefills_are_counted() -> None:
    from tests.strategies.test_golden import CASES, OURS

    counted = {m: found["whole_runs"] for m, found in read("recorded.toml").items() if "whole_runs" in found}
    names = [OURS[case.split("_", 2)[2]][0] for case in (*CASES["llava"], *CASES["video"])]
    assert counted == {name: names.count(name) for name in names}


def test_every_method_with_recorded_decisions_says_what_differs() -> None:
    told = read("fidelity.toml")
    assert set(all_cases()) <= set(told) <= set(registry().names("strategies"))
    for name, known in told.items():
        assert set(known) <= {"why", "rows", "counts"}, name
        assert all(len(row) == 4 for row in known["rows"]), name


def test_the_counts_are_those_of_the_schedules(tables: ModuleType) -> None:
    found = tables.count_table(
        {name: registry().get("strategies", name) for name in ("clse", "divprune", "dycoke", "vscan")}
    )
    assert "330/210/62 (208.1) | 220/140/41 (144.6) | 110/70/20 (81.1) | 330/210/62, 220/140/41, 110/70/20" in found
    assert "| 192 (192.0) | 128 (128.0) | 64 (64.0) | the budget |" in found
    assert "| ≤ 192 (192.0) |" in found
    assert "≤ 288/96 (192.0)" in found


SOURCE = '''"""Doc."""

import os

__all__ = ["A"]


class A:
    """Two
    lines."""

    # why
    x = 1
    """Says x."""

    def f(self):
        """Doc."""
        return (
            os.sep
        )
'''


def test_lines_of_code_are_counted_without_words(tables: ModuleType) -> None:
    assert tables.count_lines(SOURCE) == 6  # the class, x, f and the three lines of its return
