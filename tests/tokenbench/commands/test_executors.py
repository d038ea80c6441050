"""`--executor`, and the options that executors bring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from tests.tokenbench.registry.test_plugins import installed
from tokenbench import Executor, UsageError
from tokenbench.commands.executors import DistributedCommand, MakeExecutor
from tokenbench.registry.plugins import Registry
from tokenbench.runner.local import Local

EXECUTORS = """
import click
import tokenbench

class Farm(tokenbench.Executor):
    options = (
        click.Option(["--farm-size", "size"], type=int, default=3),
        click.Option(["--limit"], help="An option that the command has, too."),
    )
    def __init__(self, size=1):
        self.size = size
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
    def command(executor: MakeExecutor, **options: Any) -> tuple[Executor, dict[str, Any]]:
        return executor(registry), options

    received: tuple[Executor, dict[str, Any]] = command(list(arguments), standalone_mode=False)
    return received


def test_work_is_done_here_unless_another_executor_is_named(registry: Registry) -> None:
    executor, options = parse(registry, "--limit", "2")
    assert isinstance(executor, Local)
    assert options == {"limit": 2}


def test_a_plug_ins_executor_gets_its_own_options_by_name(registry: Registry) -> None:
    executor, options = parse(registry, "--executor", "farm", "--farm-size", "7", "--limit", "2")
    assert (type(executor).__name__, vars(executor)) == ("Farm", {"size": 7})
    assert options == {"limit": 2}, "the command's own option is not the executor's"
    assert vars(parse(registry, "--executor", "farm")[0]) == {"size": 3}


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
