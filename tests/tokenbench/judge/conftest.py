"""What tests of the judge share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tokenbench.judge.servers import Server


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
