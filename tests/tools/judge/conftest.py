"""What tests of the judge share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tools.judge.servers import Server
from tokenbench_tools.judge.server import Judge


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def other() -> Iterator[Server]:
    """A second server, which nobody named."""
    server = Server()
    yield server
    server.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judges repeat a call that failed without a pause, also those that the command makes."""
    check = Judge.__post_init__

    def checked(judge: Judge) -> None:
        check(judge)
        object.__setattr__(judge, "pause", 0.0)

    monkeypatch.setattr(Judge, "__post_init__", checked)
