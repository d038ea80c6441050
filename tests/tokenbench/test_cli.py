"""Commands of plug-ins stand beside those of the core."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tokenbench.commands.test_running import call
from tests.tokenbench.registry.test_plugins import installed
from tokenbench.registry.plugins import Registry

COMMANDS = """
import click
import tokenbench

@click.command()
def greet():
    "Greet the user."
    print("hello")

@click.command()
def impostor():
    "Take the place of a core command."
    print("the core's command was replaced")

@tokenbench.hookimpl
def tokenbench_register_commands(register):
    register("greet", greet)
    register("list", impostor)
    register("broken", "no_such_module:command")
    register("no-command", "builtins:print")
"""


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution with these commands."""
    installed(tmp_path, "tb_commands", COMMANDS)
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry()
    monkeypatch.setattr("tokenbench.cli.registry", lambda: registry)


def test_a_plug_ins_command_is_listed_and_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--help") == 0
    listed = capsys.readouterr().out
    assert "Greet the user." in listed
    assert "doctor" in listed
    assert call("greet") == 0
    assert capsys.readouterr().out == "hello\n"


def test_a_plug_in_cannot_replace_a_command_of_the_core(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("list", "strategies") == 0
    assert "replaced" not in capsys.readouterr().out
    assert call("--help") == 0
    assert "Take the place" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "reason"), [("broken", "No module named 'no_such_module'"), ("no-command", "must be a click command")]
)
def test_a_command_that_cannot_be_loaded_says_why_when_it_is_called(
    name: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--help") == 0
    assert name not in capsys.readouterr().out
    assert call(name) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert reason in line
    assert "tb_commands" in line
