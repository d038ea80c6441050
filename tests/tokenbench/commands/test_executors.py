"""`--executor`, and the options that executors bring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from tests.tokenbench.registry.test_plugins import installed
from tokenbench import Executor, UsageError
from tokenbench.commands.executors import DistributedCommand, ExecutorChoice, spec_keys
from tokenbench.registry.plugins import Registry
from tokenbench.runner.local import Local

EXECUTORS = """
import click
import tokenbench

class Farm(tokenbench.Executor):
    options = (
        click.Option(["--farm-size", "size"], type=int, default=3),
        click.Option(["--farm-tools", "tools"], multiple=True),
        click.Option(["--limit"], help="An option that the command has, too."),
    )
    def __init__(self, size=1, tools=()):
        self.size, self.tools = size, tools
    def run(self, job, bar):
        pass

@tokenbench.hookimpl
def tokenbench_register_executors(register):
    register("farm", Farm)
    register("broken", "no_such_module:Executor")
"""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """With a distribution that brings executors."""
    installed(tmp_path, "tb_executors", EXECUTORS)
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry()
    monkeypatch.setattr("tokenbench.commands.executors.registry", lambda: registry)
    return registry


def parse(registry: Registry, *arguments: str) -> tuple[Executor, dict[str, Any]]:
    """What a command with an option of its own receives: the executor, and the rest."""

    @click.command(cls=DistributedCommand)
    @click.option("--limit", type=int)
    def command(executor: ExecutorChoice, **options: Any) -> tuple[Executor, dict[str, Any]]:
        return executor.make(registry), options

    received: tuple[Executor, dict[str, Any]] = command(list(arguments), standalone_mode=False)
    return received


def test_work_is_done_here_unless_another_executor_is_named(registry: Registry) -> None:
    executor, options = parse(registry, "--limit", "2")
    assert isinstance(executor, Local)
    assert options == {"limit": 2}


def test_a_plug_ins_executor_gets_its_own_options_by_name(registry: Registry) -> None:
    executor, options = parse(registry, "--executor", "farm", "--farm-size", "7", "--limit", "2")
    assert (type(executor).__name__, vars(executor)) == ("Farm", {"size": 7, "tools": ()})
    assert options == {"limit": 2}, "the command's own option is not the executor's"
    assert vars(parse(registry, "--executor", "farm")[0]) == {"size": 3, "tools": ()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--executor", "slurm", "--ray-address", "x"], "--ray-address requires --executor ray, not slurm"),
        (["--workers", "2"], "--workers requires --executor ray or slurm, not local"),
        (["--executor", "frm"], "unknown executor 'frm': did you mean farm"),
        (["--executor", "broken"], "No module named 'no_such_module'"),
    ],
)
def test_what_does_not_fit_is_one_line(registry: Registry, arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(registry, *arguments)


def over(registry: Registry, spec: dict[str, Any], *arguments: str) -> Executor:
    """The executor of a command line over a run spec."""

    @click.command(cls=DistributedCommand)
    def command(executor: ExecutorChoice) -> Executor:
        return executor.over(spec, Path("mine.toml"), registry).make(registry)

    made: Executor = command(list(arguments), standalone_mode=False)
    return made


FARM = {"executor": "farm", "farm_size": 9, "farm_tools": ["plough"]}


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((), {"size": 9, "tools": ("plough",)}),
        (("--farm-size", "7"), {"size": 7, "tools": ("plough",)}),
        (("--farm-tools", "axe", "--executor", "farm"), {"size": 9, "tools": ("plough", "axe")}),
        (("--executor", "local"), {}),
    ],
)
def test_a_spec_names_an_executor_and_its_options_below_those_of_the_command_line(
    registry: Registry, arguments: tuple[str, ...], found: dict[str, Any]
) -> None:
    assert spec_keys(registry) >= FARM.keys()
    assert vars(over(registry, FARM, *arguments)) == found


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"executor": 3}, "run spec mine.toml: executor must be a name, not 3"),
        ({"executor": "farm", "farm_size": "big"}, "run spec mine.toml: farm_size: 'big' is not a valid integer"),
        ({"executor": "farm", "farm_tools": {"axe": 2}}, "farm_tools must be a text, not {'axe': 2}"),
        ({"farm_size": 2}, "--farm-size requires --executor farm, not local"),
    ],
)
def test_what_does_not_fit_in_a_spec_is_one_line(registry: Registry, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        over(registry, spec)
