"""What `--help` shows: examples that parse, options that are explained, and defaults and limits as a person writes them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.docs.blocks import blocks, pages
from tokenbench.cli import cli
from tokenbench.commands.options import Finite, Whole, examples, list_option

CONTEXT = click.Context(cli, info_name="tokenbench")
COMMANDS: dict[str, click.Command] = {str(name): cli.get_command(CONTEXT, name) for name in cli.list_commands(CONTEXT)}  # type: ignore[misc]


def shown(command: click.Command) -> str:
    """The help of a command on a terminal of 100 columns."""
    return command.get_help(click.Context(command, info_name=command.name, terminal_width=100))


def examples_of(command: click.Command) -> list[str]:
    """The lines below "Examples:"."""
    return [line.strip() for line in shown(command).partition("Examples:\n")[2].splitlines()]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_one_to_three_examples_of_its_own_that_parse(name: str) -> None:
    lines = examples_of(COMMANDS[name])
    assert 1 <= len(lines) <= 3
    for line in lines:
        assert line.startswith(f"tokenbench {name} ") or line == f"tokenbench {name}"
        parse(line)


def test_the_program_shows_examples_too() -> None:
    lines = examples_of(cli)
    assert lines
    assert {shlex.split(line)[1] for line in lines} <= COMMANDS.keys()


def parse(line: str) -> None:
    """Read a command line without running it. Raises what click raises for unknown options and bad values."""
    program, name, *arguments = shlex.split(line, comments=True)
    assert program == "tokenbench"
    COMMANDS[name].make_context(name, arguments, parent=CONTEXT)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_every_command_line_in_the_documentation_parses(page: Path) -> None:
    text = "\n".join(block.text.replace("\\\n", " ") for block in blocks(page) if block.language in ("sh", "console"))
    for line in re.findall(r"^(?:\$ )?(tokenbench (?!-)[^…\n]*)$", text, re.MULTILINE):
        parse(line)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained_in_a_sentence(name: str) -> None:
    options = [option for option in COMMANDS[name].params if isinstance(option, click.Option)]
    assert all(
        option.help and option.help[0].isupper() and re.search(r"[.…](  \[.*\])?$", option.help) for option in options
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_defaults_and_limits_are_written_as_a_person_types_them(name: str) -> None:
    text = " ".join(shown(COMMANDS[name]).split())
    assert not re.search(r"\[default: \(|<=|>=|RANGE|\[default: \d+\.0\]", text.replace("clse<=", ""))


def test_what_must_be_given_is_marked() -> None:
    for name, options in {
        "cost": ("--models", "--strategies"),
        "bench": ("--models", "--strategies"),
        "judge": ("--url",),
    }.items():
        text = " ".join(shown(COMMANDS[name]).split())
        for option in options:
            assert "[required]" in text.partition(f" {option} ")[2].partition(" --")[0]
            done = CliRunner().invoke(cli, [name, *(["run"] if name == "judge" else [])])
            assert done.exit_code == 2


def test_models_are_chosen_by_one_option_everywhere() -> None:
    names = {name: {flag for p in command.params for flag in p.opts} for name, command in COMMANDS.items()}
    assert [name for name, flags in names.items() if "--model" in flags] == [
        "judge"
    ]  # the judge is no model that is pruned
    assert {name for name, flags in names.items() if "--models" in flags} >= {
        "run",
        "bench",
        "cost",
        "resume",
        "status",
    }


def test_summaries_in_the_list_of_commands_are_whole() -> None:
    done = CliRunner().invoke(cli, ["--help"], terminal_width=80)
    assert "..." not in done.output.partition("Commands:")[2]


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (Whole(min=1), "0", "it must be at least 1, not 0"),
        (Whole(1, 10**6), "1000001", "it must be at least 1 and at most 1,000,000, not 1000001"),
        (Whole(min=1), "1.5", "'1.5' is not a valid integer"),
        (Finite(0, 1, min_open=True), "0", "it must be above 0 and at most 1, not 0.0"),
        (Finite(min=0), "nan", "nan is not a finite number"),
        (Finite(0.5), "0.4", "it must be at least 0.5, not 0.4"),
    ],
)
def test_numbers_outside_their_limits_are_refused(kind: click.ParamType, text: str, said: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(click.BadParameter, match=re.escape(said)):
        kind.convert(text, None, None)


@pytest.mark.parametrize(
    ("kind", "text", "value"), [(Whole(1, 3), "1", 1), (Whole(1, 3), "3", 3), (Finite(0, 1), "1", 1.0)]
)
def test_limits_themselves_are_allowed(kind: click.ParamType, text: str, value: float) -> None:  # type: ignore[type-arg]
    assert kind.convert(text, None, None) == value


def test_a_list_without_a_name_counts_as_not_given() -> None:
    @click.command(epilog=examples("tokenbench wanted --names a"))
    @list_option("--names", required=True, help="Names.")
    def wanted(names: object) -> None:
        raise AssertionError

    done = CliRunner().invoke(wanted, ["--names", " , "])
    assert done.exit_code == 2
    assert "Missing option '--names'" in done.output
