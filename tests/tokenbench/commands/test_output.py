"""What commands print: a closed pipe and a full disk change no exit code but that of a command that is done, and lose no file."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.fuzz.made import made_run
from tests.systems import full_device, only_posix
from tests.tokenbench.commands.test_running import call
from tokenbench.commands.output import say
from tokenbench.errors import MachineError, of_machine

GATE_HOLDS, GATE_FAILS = "bad<=vanilla@1/2", "good<vanilla@1/2"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("made") / "run")


@contextmanager
def wired(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> Iterator[None]:
    """A standard stream of this process that leads elsewhere, as a shell leads it there."""
    stream = io.TextIOWrapper(io.BufferedWriter(io.FileIO(number, "w", closefd=False)), encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(sys, name, stream)
        patch.setattr(sys, f"__{name}__", stream)
        yield
    os.close(number)


def closed_pipe() -> int:
    """The writing end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


GATE = "error: gate failed"
COMMANDS = [
    (["list", "strategies"], 0),
    (["--help"], 0),
    (["status", "RUN", "--format", "json"], 0),
    (["compare", "RUN", "--fail-if", GATE_FAILS], 0),
    (["compare", "RUN", "--fail-if", GATE_HOLDS], 1),
    (["check", "no-such-thing"], 2),
]


Printed = Callable[[list[str], int], tuple[int, list[str]]]
"""Calls a command whose standard output leads elsewhere: its exit code, and the lines of its standard error."""


@pytest.fixture
def printed(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Printed:
    def called(arguments: list[str], number: int) -> tuple[int, list[str]]:
        with wired(monkeypatch, "stdout", number):
            code = call(*(str(run) if part == "RUN" else part for part in arguments))
        return code, capsys.readouterr().err.splitlines()

    return called


@pytest.mark.parametrize(("arguments", "code"), COMMANDS)
def test_a_closed_pipe_leaves_the_exit_code_as_it_is(printed: Printed, arguments: list[str], code: int) -> None:
    found, lines = printed(arguments, closed_pipe())
    assert found == code
    assert len(lines) == (code > 0)


@pytest.mark.parametrize(("arguments", "code"), COMMANDS)
def test_a_full_disk_is_one_line_and_another_exit_code_stays(printed: Printed, arguments: list[str], code: int) -> None:
    found, (line,) = printed(arguments, full_device())
    assert found == (code or 4)
    lost = "error: standard output: No space left on device (the rest of the output is lost)"
    assert line.startswith(lost if code == 0 else "error: ")
    assert code != 1 or line.startswith(GATE)


@pytest.mark.parametrize("end", [closed_pipe, full_device])
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_files_are_written_although_nothing_can_be_printed(
    run: Path, monkeypatch: pytest.MonkeyPatch, end: Callable[[], int], name: str
) -> None:
    shutil.rmtree(run / "report", ignore_errors=True)
    with wired(monkeypatch, name, end()):
        code = call("report", str(run), "--format", "terminal,csv")
    assert code == (4 if (end, name) == (full_device, "stdout") else 0)
    assert {path.name for path in (run / "report").iterdir()} >= {"summary.csv", "pairs.csv"}


@pytest.mark.parametrize(
    ("shell", "code"),
    [
        ("exec {} compare {} --fail-if 'bad<=vanilla@1/2' > /dev/full 2>/dev/null", 1),
        ("exec {} report {} --format terminal,csv >&- 2>&-", 0),
        pytest.param("set -o pipefail; {} list strategies | true", 0, marks=pytest.mark.slow),
        pytest.param("set -o pipefail; {} compare {} --fail-if 'good<vanilla@1/2' | true", 0, marks=pytest.mark.slow),
        pytest.param("exec {} status {} > /dev/full 2>/dev/null", 4, marks=pytest.mark.slow),
    ],
)
def test_the_end_of_python_itself_changes_no_exit_code(run: Path, shell: str, code: int) -> None:
    """It writes what is left in its buffers once more."""
    only_posix("a shell leads the streams elsewhere")
    if "/dev/full" in shell:
        os.close(full_device())
    command = shell.format(f'"{sys.executable}" -m tokenbench', f'"{run}"')
    assert subprocess.run(["bash", "-c", command], timeout=300).returncode == code


def test_an_encoding_without_a_sign_is_given_plain_signs(run: Path) -> None:
    bare = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONIOENC"))}
    command = [sys.executable, "-m", "tokenbench", "report", str(run), "--details"]
    done = subprocess.run(command, env={**kept, **bare}, capture_output=True, timeout=300)
    assert done.returncode == 0
    assert done.stderr.decode("ascii").count("\n") == 2
    assert done.stdout.isascii()
    assert b". Accuracy kept is 100 x score" in done.stdout


def test_a_line_stays_one_line_and_obeys_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    say("  a\nb\x1b[2J", "\x9b31m\u202e\r\x00", 5, "", "\udce9")
    assert capsys.readouterr().out == "  a b\\x1b[2J\n\\x9b31m\\u202e\\r\\x00\n5\n\n\\udce9\n"
    say("é", err=True)
    assert capsys.readouterr().err == "é\n"


def raised_while_handling(first: BaseException, second: Exception) -> Exception:
    try:
        try:
            raise first
        except BaseException:
            raise second  # noqa: B904
    except Exception as error:
        return error


def database_error(command: str) -> Exception:
    """What SQLite raises while it makes a table after a command."""
    import sqlite3

    with closing(sqlite3.connect(":memory:")) as there:
        try:
            there.execute(command)
            there.execute("CREATE TABLE numbers (number)")
        except sqlite3.Error as error:
            return error
    raise AssertionError


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(28, "No space left on device", "a/b"), "a/b: No space left on device"),
        (PermissionError(13, "Permission denied", b"a"), "a: Permission denied"),
        (raised_while_handling(OSError(28, "full"), AttributeError("pos")), "full"),
        (raised_while_handling(OSError(5, "bad disk", "x"), ValueError("closed file")), "x: bad disk"),
        (raised_while_handling(MemoryError(), ValueError("x")), "this machine does not have enough memory for this"),
        (raised_while_handling(FileNotFoundError(2, "no such file"), KeyError("x")), None),
        (OSError(28, "No space left on device", "from", None, "to"), "to: No space left on device"),
        (database_error("PRAGMA max_page_count = 1"), "database or disk is full"),
        (
            raised_while_handling(database_error("PRAGMA query_only = 1"), ValueError("INTERNAL_ERROR")),
            "attempt to write a readonly database",
        ),
        (database_error("SELECT * FROM nothing"), None),
        (OSError("what a library says"), None),
        (KeyError("x"), None),
    ],
)
def test_the_machine_is_told_from_a_bug(error: Exception, line: str | None) -> None:
    found = of_machine(error)
    assert (str(found) if found else None) == line
    assert found is None or isinstance(found, MachineError)
