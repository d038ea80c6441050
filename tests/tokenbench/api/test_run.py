"""`tokenbench.run`: the run of the command, from Python, with names or objects."""

from __future__ import annotations

import inspect
import json
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pytest
import torch

import tokenbench
from tests.tokenbench.commands.test_running import call
from tokenbench import Budget, Selection, Strategy, Suite, UsageError, View
from tokenbench.cli import cli
from tokenbench.registry.composition import Composed
from tokenbench.registry.names import name_strategy, parse_strategy
from tokenbench.registry.plugins import registry
from tokenbench.registry.suites import resolve_suite
from tokenbench.runner.request import Request
from tokenbench.runner.resolve import resolve
from tokenbench_strategies.clse import CLSE
from tokenbench_strategies.fastv import FastV
from tokenbench_strategies.pdrop import PDrop

FEW: dict[str, Any] = {"tasks": ["attribute"], "budgets": ["1/9"], "limit": 2, "floors": False}


class Mine(Strategy):
    """The first tokens: a class that no plug-in registers."""

    layer: int = 1

    def schedule(self, depth: int, budget: Budget) -> list[tuple[int, Any]]:
        return [(self.layer, budget.keep)]

    def select(self, view: View) -> Selection:
        return Selection(torch.arange(view.k))


def resolved(**options: Any) -> Any:
    return resolve(Request.of({"strategies": "fastv", **options}), registry())


def test_it_is_the_same_run_as_the_commands(tmp_path: Path, without_reports: None) -> None:
    run = tokenbench.run("fastv", tmp_path / "python", **FEW)
    options = ["--tasks", "attribute", "--budgets", "1/9", "--limit", "2", "--no-floors", "-q"]
    assert call("run", "--strategies", "fastv", *options, "-o", str(tmp_path / "command")) == 0
    there = tokenbench.Run.open(tmp_path / "command")
    assert run.spec() == there.spec()
    assert [cell["id"] for cell in run.manifest["cells"]] == [cell["id"] for cell in there.manifest["cells"]]
    pd.testing.assert_frame_equal(run.samples().drop(columns="seconds"), there.samples().drop(columns="seconds"))


def test_both_doors_have_the_same_options_and_defaults() -> None:
    """The signature, the request behind it, and the command line, which says its defaults in its help."""
    parameters = inspect.signature(tokenbench.run).parameters
    command = cli.get_command(click.Context(cli), "run")
    assert command is not None
    options, request = command.make_context("run", [], resilient_parsing=True).params, Request()
    for name in Request.model_fields:
        assert name in parameters
        assert name in options
        if name != "strategies":
            said, shown = parameters[name].default, options[name]
            assert Request.of({name: said}) == request, name
            if shown != ():
                assert Request.of({name: shown[0] if isinstance(shown, tuple) else shown}) == request, name
    own = {"output", "plugins", "executor", "progress"}
    assert parameters.keys() - Request.model_fields.keys() == own
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in parameters.values())


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (FastV(layer=3), ["fastv:layer=3"]),
        ([FastV(layer=3), "clse"], ["fastv:layer=3", "clse"]),
        ([FastV(), "fastv"], ["fastv"]),
        ("fastv,clse", ["fastv", "clse"]),
        ((name for name in ("fastv", "clse")), ["fastv", "clse"]),
        ([CLSE(temp=0.2, layers=(1, 3))], ["clse:temp=0.2:layers=1/3"]),
        ([parse_strategy("fastv+merge", registry()).strategy], ["fastv+merge"]),
        (
            [parse_strategy("fastv:layer=3@pdrop+tome", registry()).strategy],
            ["fastv:layer=3@pdrop+merge"],
        ),  # its first name
        ([Composed(scorer=FastV(), schedule_of=PDrop())], ["fastv@pdrop"]),
        (["vanilla", "fastv"], ["fastv"]),
        (Mine(layer=2), ["Mine:layer=2"]),
        ([Mine(), Mine(layer=1), Mine(layer=2)], ["Mine", "Mine:layer=2"]),
        ([Composed(scorer=Mine(), schedule_of=PDrop())], ["Mine@pdrop"]),
    ],
)
def test_strategies_are_names_or_objects(given: Any, names: list[str]) -> None:
    found = resolved(strategies=given, floors=False)
    assert list(found.spec.strategies) == names
    assert [name for name in found.strategies if name != "vanilla"] == names


@pytest.mark.parametrize("name", registry().names("strategies"))
def test_an_object_is_named_as_the_text_that_makes_it(name: str) -> None:
    named = parse_strategy(name, registry())
    assert name_strategy(named.strategy, registry()) == named


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ([64, "1/3", 0.25], ["64", "1/3", "0.25"]),
        (64, ["64"]),
        ("1/3,16", ["1/3", "16"]),
        ([Budget.parse(".5"), Budget.parse(".5").of(100), " .5 "], [".5"]),
        ([Fraction(2, 6), np.int64(64), np.float64(0.5)], ["1/3", "64", "0.5"]),
        (["1/3", "2/6", "33.3%"], ["1/3", "2/6", "33.3%"]),
    ],
)
def test_budgets_are_numbers_texts_or_objects(given: Any, texts: list[str]) -> None:
    found = resolved(budgets=given, floors=False)
    assert list(found.spec.budgets) == texts
    assert [str(arm.budget) for arm in found.arms[1:]] == texts
    assert [arm.budget.keep for arm in found.arms[1:]] == [Budget.parse(text).keep for text in texts]


def test_numbers_of_other_libraries_are_numbers() -> None:
    found = resolved(limit=np.int64(3), seeds=np.arange(2), batch_size=np.int32(4), margin=np.float64(2))
    assert (found.spec.limit, found.spec.seeds, found.spec.batch_size, found.spec.margin) == (3, (0, 1), 4, 2.0)
    json.dumps(found.spec.to_json())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "limit: .*greater than or equal to 1, not 0"),
        ({"limit": True}, "limit: .*not True"),
        ({"limit": "3"}, "limit: .*not '3'"),
        ({"limit": 2.5}, "limit: .*not 2.5"),
        ({"batch_size": 0}, "batch_size: "),
        ({"floors": "no"}, "floors: .*not 'no'"),
        ({"strict": 1}, "strict: .*not 1"),
        ({"match": "cost"}, "match: .*'nominal', 'tokens' or 'flops', not 'cost'"),
        ({"dtype": "int8"}, "dtype: .*not 'int8'"),
        ({"attention": "slow"}, "attention: "),
        ({"device": 1}, "device: .*not 1"),
        ({"margin": float("nan")}, "margin: .*not nan"),
        ({"margin": -1}, "margin: "),
        ({"until": "noon"}, "until: .*not 'noon'"),
        ({"looks": 3}, "looks requires until"),
        ({"until": "decided", "looks": 1}, "looks: "),
        ({"budgets": ["x"]}, "budgets: 'x' is neither"),
        ({"budgets": [1 / 3]}, "budgets: 0.3333333333333333 has too many digits"),
        ({"budgets": [True]}, "budgets: 'True' is neither"),
        ({"budgets": [1.0]}, "budgets: '1.0' is a share of 1"),
        ({"budgets": [Budget.everything()]}, "budgets: 'all' is neither"),
        ({"budgets": [Budget("64", tokens=32)]}, "budgets: .*does not match its own text"),
        ({"budgets": []}, "budgets is empty"),
        ({"seeds": [-1]}, "seeds: -1 is not"),
        ({"seeds": [True]}, "seeds: True is not"),
        ({"seeds": 0.5}, "seeds: 0.5 is not"),
        ({"seeds": []}, "seeds is empty"),
        ({"strategies": []}, "no strategy is given"),
        ({"strategies": ["fastw"]}, "unknown strategy 'fastw': did you mean fastv"),
        ({"strategies": [FastV]}, "strategies: FastV is a class"),
        ({"strategies": [("fastv", {"layer": 3})]}, "strategies: tuple .* is neither a name nor"),
        ({"strategies": {"fastv": 3}}, "strategies: dict .* is neither a name nor"),
        ({"strategies": None}, "strategies: NoneType None is neither a name nor"),
        ({"strategies": [FastV.model_construct(layer="first")]}, "'fastv': layer=first: "),
        ({"suite": "imag"}, "did you mean image"),
        ({"suite": 3}, "suite: int 3 is neither a name nor"),
        ({"suite": Suite("a,b", "", resolve_suite("image", (), registry())[1])}, "suite: 'a,b' is not a valid name"),
        (
            {"suite": Suite("video", "", resolve_suite("image", (), registry())[1])},
            "suite: the object has the name 'video' of a registered suite",
        ),
        ({"tasks": ["readin"]}, "did you mean reading"),
        ({"tasks": [3]}, "tasks: int 3 is not a name"),
        ({"models": []}, "models is empty"),
        ({"models": [object()]}, "models: object .* is not a name"),
        ({"models": "toy-lava"}, "unknown model 'toy-lava'"),
        ({"data": ["gqa"]}, "is not TASK=FOLDER"),
        ({"tasks_dir": [3]}, "tasks_dir: int 3 is not a name"),
        ({"output": 3}, "output: int 3 is not a folder"),
        ({"executor": "ray"}, "executor: str 'ray' is not"),
        ({"plugins": "nowhere.py"}, "plug-in nowhere.py failed to load"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_argument(
    tmp_path: Path, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message) as error:
        tokenbench.run(**{"strategies": ["fastv"], "output": tmp_path / "run", **FEW, **options})
    assert "\n" not in str(error.value) + error.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"data": {"gqa": "/nowhere"}}, {"tasks_dir": "/nowhere"}])
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="/nowhere"):
        tokenbench.run("fastv", tmp_path / "run", **FEW, **options)
    assert not list(tmp_path.iterdir())


def test_an_option_that_is_none_is_pythons_own_error() -> None:
    with pytest.raises(TypeError, match="limits"):
        tokenbench.run("fastv", "run", limits=2)  # type: ignore[call-arg]


def test_a_name_is_resolved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The strategy, the budget and the suite: also with reports, and also when a run that is there goes on."""
    from tokenbench.registry import suites
    from tokenbench.runner import resolve as module

    counts: Counter[str] = Counter()

    def counted(name: str, function: Any) -> Any:
        def wrapped(*arguments: Any) -> Any:
            counts[f"{name} {arguments[0]}"] += 1
            return function(*arguments)

        return wrapped

    monkeypatch.setattr(module, "parse_strategy", counted("strategy", module.parse_strategy))
    monkeypatch.setattr(suites, "_make", counted("suite", suites._make))
    words = ["--strategies", "fastv", "--tasks", "attribute", "--budgets", "1/9", "--limit", "2", "--no-floors"]
    for _ in range(2):
        counts.clear()
        assert call("run", *words, "-o", str(tmp_path / "run"), "-q") == 0
        assert counts == {"strategy fastv": 1, "strategy vanilla": 1, "suite image": 1}


def test_a_run_is_named_after_its_suite_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = tokenbench.run("fastv", **FEW)
    assert run.folder == Path("runs") / f"image-{run.spec().digest}"
