"""A call has one deadline, and a signal ends the pass at once, whatever the server does."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.signals import signal_when
from tests.tokenbench.commands.test_running import call
from tests.tools.judge.runs import answered
from tests.tools.judge.servers import Server, said, silent
from tokenbench.errors import MachineError
from tokenbench_tools.judge.question import Asked
from tokenbench_tools.judge.server import Judge
from tokenbench_tools.judge.verdicts import collect

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"


def drip_body(wire: Any) -> None:
    drip(wire, HEAD + b"x" * 2000)


def drip_head(wire: Any) -> None:
    drip(wire, b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 2000)


def say_nothing(wire: Any) -> None:
    time.sleep(50)


def drip(wire: Any, content: bytes) -> None:
    wire.write(content[:40])
    for sign in content[40:]:
        time.sleep(0.05)
        wire.write(bytes([sign]))


SLOW = [drip_body, drip_head, say_nothing]


@pytest.mark.parametrize("slow", SLOW)
def test_a_call_has_one_deadline(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, slow: Callable[[Any], None]
) -> None:
    monkeypatch.setattr("tokenbench_tools.judge.server.ATTEMPTS", 2)
    server.raw = slow
    start = time.monotonic()
    with pytest.raises(MachineError, match=r"no reply within 0\.3 s"):
        collect(Judge(server.url, "j", pause=0.0, timeout=0.3), [Asked("q", "t", "a")], tmp_path, 1, silent)
    assert time.monotonic() - start < 3  # two attempts and a probe
    assert len(server.asked) == 3


def test_the_deadline_is_an_option(tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.raw = say_nothing
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tokenbench_tools.judge.server.ATTEMPTS", 1)
        assert call("judge", *answered(tmp_path, *[["red"]] * 3), "--url", server.url, "--timeout", "0.2") == 4
    assert "no reply within 0.2 s" in capsys.readouterr().err


def test_a_reply_is_read_to_a_limit_only(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenbench_tools.judge.server.ATTEMPTS", 1)
    server.answer = lambda request: (200, {}, said("yes" + " " * 2**21))
    with pytest.raises(MachineError, match="longer than 1 MiB"):
        collect(Judge(server.url, "j"), [Asked("q", "t", "a")], tmp_path, 1, silent)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("slow", "number", "code"),
    [
        (drip_body, signal.SIGTERM, 143),
        (say_nothing, signal.SIGINT, 130),
        (drip_head, signal.SIGTERM, 143),
        (say_nothing, signal.SIGTERM, 143),
    ],
)
def test_a_signal_ends_the_pass_at_once_and_what_was_said_is_kept(
    tmp_path: Path, server: Server, slow: Callable[[Any], None], number: int, code: int
) -> None:
    server.answer = lambda request: (200, {}, said("yes"))
    arguments = ["judge", *answered(tmp_path, *[["red", "rose", "ruby"]] * 3), "--url", server.url, "--workers", "1"]
    assert call(*arguments, "--format", "csv") == 0
    (path,) = (tmp_path / "run" / "judge").glob("*/verdicts.jsonl")
    path.write_text(path.read_text().splitlines()[1] + "\n")

    server.asked.clear()
    server.raw = slow
    command = [sys.executable, "-m", "tokenbench", *arguments]
    ended = signal_when(lambda: bool(server.asked), command, number, pause=0.2, timeout=60)
    assert ended.seconds < 25  # most of it is Python's own end on a busy machine; the server takes longer
    assert ended.code == code
    assert "Traceback" not in ended.told
    word = "interrupted" if code == 130 else "terminated"
    assert [line for line in ended.told.splitlines() if line] == [
        f"error: {word} (run the same command again to resume)"
    ]
    assert [json.loads(line)["right"] for line in path.read_text().splitlines() if line] == [1.0]


LOOKUP = """
import socket, sys, time
from pathlib import Path

asking = Path(sys.argv.pop(1))

def getaddrinfo(*_, **__):
    asking.touch()
    time.sleep(60)
    raise socket.gaierror(-3, "Temporary failure in name resolution")

socket.getaddrinfo = getaddrinfo
from tokenbench.cli import main
main()
"""


def no_answer(*_: Any, **__: Any) -> Any:
    time.sleep(20)
    raise OSError("too late")


def test_a_lookup_of_the_name_has_the_same_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver of the system can be neither cancelled nor hurried."""
    monkeypatch.setattr("tokenbench_tools.judge.server.ATTEMPTS", 1)
    monkeypatch.setattr("socket.getaddrinfo", no_answer)
    start = time.monotonic()
    with pytest.raises(MachineError, match=r"no reply within 0\.3 s"):
        collect(Judge("http://judge.invalid/v1", "j", timeout=0.3), [Asked("q", "t", "a")], tmp_path, 1, silent)
    assert time.monotonic() - start < 10


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_lookup_at_once(tmp_path: Path, number: int, code: int) -> None:
    asking = tmp_path / "asking"
    arguments = [*answered(tmp_path, *[["red"]] * 3), "--url", "http://judge.invalid/v1"]
    command = [sys.executable, "-c", LOOKUP, str(asking), "judge", *arguments]
    ended = signal_when(asking.exists, command, number)
    assert ended.seconds < 25
    assert ended.code == code
    assert "Traceback" not in ended.told
