"""What a user reads when the hub cannot be reached, or refuses: one line, at once."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.systems import only_posix
from tests.tokenbench.commands.test_running import call
from tokenbench.models.hub import HubError, from_hub
from tokenbench.models.source import is_cached

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Point = Callable[[str], None]


@pytest.fixture
def point(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Point:
    """Says where the hub is, and that it may be asked; its cache is empty."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path / "cache"))

    def at(address: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )

    return at


@pytest.fixture
def absent(point: Point) -> Iterator[str]:
    """A hub at an address where nobody listens."""
    only_posix("Windows words its errors otherwise")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        point(address)
        yield address


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--strategies", "fastv", "--limit", "1", "--models", "nobody/nothing", "-o", "run"),
        ("cost", "--strategies", "fastv", "--models", "nobody/nothing"),
    ],
)
def test_a_hub_that_cannot_be_reached_is_one_line_without_attempts(
    command: tuple[str, ...],
    absent: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", slept.append)
    monkeypatch.chdir(tmp_path)
    assert call(*command) == 4
    (line,) = capfd.readouterr().err.splitlines()
    assert (
        f"could not be downloaded: {absent} cannot be reached: [Errno {errno.ECONNREFUSED}] Connection refused (on a machine"
        in line
    )
    assert slept == [], "the library waits between its attempts"


def test_what_is_cached_is_found_without_the_hub(absent: str, tmp_path: Path) -> None:
    from huggingface_hub import hf_hub_download

    kept = tmp_path / "cache" / "models--nobody--nothing"
    (kept / "snapshots" / COMMIT).mkdir(parents=True)
    (kept / "snapshots" / COMMIT / "config.json").write_text("{}")
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(COMMIT)
    found = from_hub(hf_hub_download, "nobody/nothing", "config.json")
    assert Path(found).read_text() == "{}"
    assert constants.HF_HUB_OFFLINE is False
    assert not is_cached("nobody/other")


@pytest.mark.parametrize(
    ("status", "headers", "reason"),
    [
        (401, {"X-Error-Code": "RepoNotFound"}, "the hub has nothing of this name that you may read"),
        (404, {"X-Error-Code": "RepoNotFound"}, "the hub has nothing of this name that you may read"),
        (403, {"X-Error-Code": "GatedRepo"}, "access to it must be requested on the hub"),
        (404, {"X-Error-Code": "RevisionNotFound"}, "the hub has no such revision of it"),
        (404, {"X-Error-Code": "EntryNotFound"}, "it lacks a file that is needed there"),
        (418, {}, "the hub answers with the status 418"),
    ],
)
def test_what_the_hub_refuses_is_said_in_a_phrase(
    status: int, headers: dict[str, str], reason: str, point: Point
) -> None:
    from huggingface_hub import hf_hub_download

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status if "resolve" in self.path else 200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        point(f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(HubError) as raised:
            from_hub(hf_hub_download, "nobody/nothing", "config.json")
        server.shutdown()
    assert str(raised.value).startswith(reason)
    assert "\n" not in str(raised.value)
