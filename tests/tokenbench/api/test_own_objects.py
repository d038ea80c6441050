"""Strategies and suites that no plug-in registers: objects of the process that runs them."""

from __future__ import annotations

import inspect
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import tokenbench
from tests.processes import count_questions
from tests.tokenbench.api.test_run import FEW, Mine, resolved
from tests.tokenbench.commands.test_running import call
from tokenbench import Executor, Selection, Strategy, Suite, UsageError, View
from tokenbench.registry.plugins import registry
from tokenbench.registry.suites import resolve_suite
from tokenbench.runner.live_code import live_hash
from tokenbench.runner.local import Local


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[Any, ...]]:
    return count_questions(monkeypatch)


def test_a_strategy_that_no_plugin_registers_runs_here_and_goes_on(tmp_path: Path, asked: Counter[Any]) -> None:
    folder = tmp_path / "run"
    run = tokenbench.run([Mine(layer=2), "fastv"], folder, **FEW)
    samples = run.samples()
    mine = samples[samples["strategy"] == "Mine:layer=2"]
    assert [list(kept) for kept in mine["kept"]] == [list(range(16))] * 2
    assert run.manifest["unregistered"] == {"strategies": {"Mine:layer=2": f"{Mine.__module__}.Mine"}}
    assert set(run.compare().summary["strategy"]) == {"vanilla", "fastv", "Mine:layer=2"}
    first = Counter(asked)
    tokenbench.run([Mine(layer=2), "fastv"], folder, **FEW)
    assert asked == first
    tokenbench.run([Mine(layer=2), "clse"], folder, **{**FEW, "limit": 3})
    assert set(asked.values()) == {1}
    assert call("compare", str(folder), "--fail-if", "Mine:layer=2<=vanilla@1/9") == 1


def test_without_the_object_a_run_says_what_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    tokenbench.run([Mine(layer=2)], folder, **FEW)
    before = (folder / "run.json").read_bytes()
    assert call("resume", str(folder)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"'Mine:layer=2' is an object of the class {Mine.__module__}.Mine, which no plug-in registers" in line
    assert "pass it to tokenbench.run again" in line
    assert call("status", str(folder), "--thorough") == 0
    assert (
        "cannot tell whether cells are stale: the run's strategy 'Mine:layer=2' is an object" in capsys.readouterr().out
    )
    with pytest.raises(UsageError, match="Mine:layer=2"):
        tokenbench.run("clse", folder, **FEW)
    assert (folder / "run.json").read_bytes() == before
    assert call("report", str(folder)) == 0
    assert call("status", str(folder)) == 0


def test_once_it_is_registered_the_run_goes_on(tmp_path: Path) -> None:
    plug = tmp_path / "plug.py"
    source = inspect.getsource(Mine)
    header = """
        from typing import Any
        import torch
        from tokenbench import Budget, Selection, Strategy, View, hookimpl

        @hookimpl
        def tokenbench_register_strategies(register):
            register("Mine", Mine)
    """
    plug.write_text(textwrap.dedent(header) + "\n\n" + source)
    folder = tmp_path / "run"
    tokenbench.run([Mine(layer=2)], folder, **FEW)
    run = tokenbench.run(["Mine:layer=2"], folder, plugins=plug, **FEW)
    assert "unregistered" not in run.manifest


class Elsewhere(Executor):
    """An executor that nobody told anything of objects."""

    def run(self, job: Any, bar: Any) -> None:
        pytest.fail("it was asked to run")


def test_other_processes_are_not_asked_for_an_object(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Elsewhere works in other processes, which cannot make 'Mine'"):
        tokenbench.run([Mine()], tmp_path / "run", executor=Elsewhere(), **FEW)
    assert not list(tmp_path.iterdir())
    assert len(tokenbench.run([Mine()], tmp_path / "run", executor=Local(), **FEW).samples()) == 4


def test_two_classes_of_one_name_are_refused() -> None:
    def made(step: int) -> Strategy:
        class Mine(Strategy):
            def select(self, view: View) -> Selection:
                return Selection(torch.arange(view.k) * step)

        return Mine()

    with pytest.raises(UsageError, match="two objects have the name 'Mine'"):
        resolved(strategies=[made(1), made(2)])
    with pytest.raises(UsageError, match="two objects have the name 'Mine'"):
        resolved(strategies=[Mine(), made(1)])


def test_a_class_called_as_a_registered_strategy_is_refused() -> None:
    with pytest.raises(UsageError, match="has the same name as a registered class"):
        resolved(strategies=[type("fastv", (Mine,), {})()])
    with pytest.raises(UsageError, match="has a name that a strategy cannot have"):
        resolved(strategies=[type("Größe", (Mine,), {})()])


def test_a_suite_may_be_an_object(tmp_path: Path, asked: Counter[Any]) -> None:
    suite = resolve_suite("image", (), registry())[0]
    few = {**FEW, "suite": Suite("own", "Two of its tasks.", suite.tasks[:2], "toy-llava"), "tasks": ()}
    run = tokenbench.run("fastv", tmp_path / "run", **few)
    assert run.spec().suite == "own"
    assert set(run.samples()["task"]) == {task.name for task in suite.tasks[:2]}
    assert {task for task, _ in run.questions()} == {task.name for task in suite.tasks[:2]}
    first = Counter(asked)
    tokenbench.run("fastv", tmp_path / "run", **few)
    assert asked == first
    tokenbench.run("uniform", tmp_path / "run", **few)  # it grows
    assert set(asked.values()) == {1}
    with pytest.raises(UsageError, match="suite 'own' is an object"):
        tokenbench.run("fastv", tmp_path / "run", **FEW)
    assert tokenbench.run("fastv", tmp_path / "registered", **{**FEW, "suite": suite}).spec().suite == "image"


@contextmanager
def notebook(text: str) -> Iterator[Any]:
    """The class Mine of a notebook's cell: it is in no file."""
    module = {"__name__": "__main__", "Strategy": Strategy, "Selection": Selection, "torch": torch}
    exec(compile(textwrap.dedent(text), "<cell>", "exec", dont_inherit=True), module)
    yield module["Mine"]


CELL = """
STEP = 1

def ordinals(view):
    assert 'one' in {'one', 'two', 'three'}
    return torch.arange(view.k) * STEP

class Mine(Strategy):
    '''The first tokens.'''

    layer: int = 1

    def schedule(self, depth, budget):
        return [(self.layer, budget.keep)]

    def select(self, view):
        '''Of the candidates.'''
        return Selection(ordinals(view))
"""


@pytest.mark.parametrize(
    ("old", "new", "again"),
    [
        ("STEP", "STEP", False),
        ("The first tokens.", "Some tokens.", False),
        ("Of the candidates.", "Of them.", False),
        ("    layer: int = 1\n", "    layer: int = 1  # a comment\n\n", False),
        ("STEP = 1", "STEP = 2", True),
        ("(view.k) * STEP", "(view.n)[-view.k:] * STEP", True),
        ("budget.keep", "(budget.keep)", False),
        ("layer: int = 1", "layer: int = 2", True),
    ],
)
def test_answers_of_a_cell_that_was_edited_are_not_reused(
    tmp_path: Path, asked: Counter[Any], old: str, new: str, again: bool
) -> None:
    for text in (CELL, CELL.replace(old, new)):
        with notebook(text) as mine:
            run = tokenbench.run([mine()], tmp_path / "run", **FEW)
    assert (set(asked.values()) == {1, 2}) == again
    (part,) = {cell["parts"]["strategy"] for cell in run.manifest["cells"] if cell["strategy"] == "Mine"}
    assert "class __main__.Mine" in run.manifest["parts"][part]["source"]


@pytest.mark.slow
def test_the_hash_of_a_cell_is_the_same_in_every_process() -> None:
    """Sets of texts, for one, are in another order there."""
    script = f"""
import torch
from tokenbench import Selection, Strategy
from tokenbench.runner.live_code import live_hash
exec({CELL!r})
print(live_hash(Mine, 16))
"""
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    with notebook(CELL) as mine:
        assert there.strip() == live_hash(mine, 16)
