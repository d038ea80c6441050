"""The key reaches the server that was named, and nobody and nothing else."""

from __future__ import annotations

import base64
import html
import json
import urllib.parse
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any

import pytest

from tests.fuzz.bad import snapshot
from tests.tokenbench.commands.test_running import call
from tests.tools.judge.runs import answered
from tests.tools.judge.servers import Server, said
from tokenbench.errors import UsageError
from tokenbench_tools.judge.secret import WITHHELD, Secret
from tokenbench_tools.judge.server import Judge

KEY = "sk-SECRET+a/b123&456=="
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture
def judge(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    answers = ["red", "green"]
    return ["judge", *answered(tmp_path, answers, answers, answers), "--url", server.url, "--workers", "1"]


def nothing_shows(told: str, folder: Path) -> None:
    """No text printed or stored holds a form of the key."""
    stored = b"\n".join(content for name, content in snapshot(folder).items() if "judge" in name)
    for text in (told, stored.decode(errors="replace")):
        for form in FORMS.values():
            assert form(KEY)[:12] not in text


def test_the_server_that_was_named_gets_the_key(judge: list[str], server: Server) -> None:
    assert call(*judge) == 0
    assert {one.headers["Authorization"] for one in server.asked} == {f"Bearer {KEY}"}


@pytest.mark.parametrize(
    ("status", "place"),
    [
        *((status, "elsewhere") for status in (300, 301, 302, 303, 307, 308)),
        *((302, place) for place in ("another path", "https", "a file", "nowhere")),
    ],
)
def test_no_redirect_is_followed(
    judge: list[str], server: Server, other: Server, capsys: pytest.CaptureFixture[str], status: int, place: str
) -> None:
    to = {
        "elsewhere": f"http://localhost:{other.port}/steal",
        "another path": "/other",
        "https": f"https://127.0.0.1:{other.port}/steal",
        "a file": "file:///etc/hostname",
    }.get(place)
    server.answer = lambda request: (status, {"Location": to} if to else {}, b"")
    assert call(*judge) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert f"status {status}: {f'it sends the question to {to}' if to else 'a redirect'}" in line
    assert not other.asked
    assert {(one.method, one.path) for one in server.asked} == {("POST", "/v1/chat/completions")}


class Proxy:
    """Writes down what it is sent, and refuses to pass it on."""

    def __init__(self) -> None:
        self.seen = b""
        outer = self

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                outer.seen += self.request.recv(65536)
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                outer.seen += self.request.recv(65536)

        self.tcp = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.tcp.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.tcp.server_address[1]}"


@pytest.fixture
def proxy() -> Any:
    proxy = Proxy()
    yield proxy
    proxy.tcp.shutdown()
    proxy.tcp.server_close()


def test_a_proxy_of_the_environment_never_reads_the_key(
    judge: list[str], server: Server, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenbench_tools.judge.server.ATTEMPTS", 1)
    for name in PROXIES[:3]:
        monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv(name.lower(), proxy.url)
    assert call(*judge, "--format", "csv") == 0
    assert server.asked
    assert not proxy.seen  # http is asked directly: the proxy would read the key
    assert call(*judge, "--url", "https://judge.invalid/v1", "--timeout", "1", "--model", "x") == 4
    assert proxy.seen.startswith(b"CONNECT judge.invalid:443")  # https goes through it, encrypted
    assert KEY.encode() not in proxy.seen
    assert b"Authorization" not in proxy.seen
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "socks9://x")
    assert call(*judge, "--url", "https://judge.invalid/v1", "--model", "x") == 2


FORMS = {
    "plain": lambda key: key,
    "header": lambda key: f"Authorization: Bearer {key}",
    "the beginning": lambda key: key[:14] + "...",
    "the end": lambda key: "*" * 8 + key[-14:],
    "capitals": str.upper,
    "reversed": lambda key: key[::-1],
    "spaced": " ".join,
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 of the header": lambda key: base64.b64encode(f"Bearer {key}".encode()).decode(),
    "url-safe base64": lambda key: base64.urlsafe_b64encode(f"key={key}".encode()).decode(),
    "base64 of name and key": lambda key: base64.b64encode(f"x:{key}".encode()).decode(),
    "hexadecimal": lambda key: key.encode().hex(),
    "hexadecimal with colons": lambda key: key.encode().hex(":"),
    "an address": lambda key: urllib.parse.quote(key, safe=""),
    "every sign of an address": lambda key: "".join(f"%{ord(sign):02X}" for sign in key),
    "html": html.escape,
    "every sign of html": lambda key: "".join(f"&#{ord(sign)};" for sign in key),
    "json": lambda key: "".join(f"\\u{ord(sign):04x}" for sign in key),
    "python": lambda key: "".join(f"\\x{ord(sign):02x}" for sign in key),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_text_that_shows_the_key_is_withheld(form: str) -> None:
    assert Secret(KEY).withhold(f"You sent {FORMS[form](KEY)}.") == WITHHELD  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("key", ["", KEY, "EMPTY", "-"])
def test_a_text_without_the_key_is_shown(key: str) -> None:
    for text in ("Yes.", "no", "Partially correct.", "status 400: the model judge-2026 does not exist", "2026-01-01"):
        assert Secret(key).withhold(text) == text


def echo_reply(text: str) -> Any:
    return lambda request: (200, {}, said(text))


def echo_model(text: str) -> Any:
    return lambda request: (200, {}, json.dumps({"model": text, "choices": [{"message": {"content": "yes"}}]}).encode())


def echo_error(text: str) -> Any:
    return lambda request: (400, {}, json.dumps({"error": {"message": text}}).encode())


def echo_location(text: str) -> Any:
    return lambda request: (302, {"Location": f"/{text}"}, b"")


@pytest.mark.parametrize("form", ["plain", "header", "base64 of the header", "an address", "html", "the beginning"])
@pytest.mark.parametrize("echo", [echo_reply, echo_model, echo_error, echo_location])
def test_a_key_that_comes_back_is_neither_printed_nor_stored(
    judge: list[str], server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, echo: Any
) -> None:
    server.answer = echo(FORMS[form](KEY))  # type: ignore[no-untyped-call]
    assert call(*judge, "--format", "csv") == (0 if echo is echo_model else 4)
    told = capsys.readouterr()
    nothing_shows(told.out + told.err, tmp_path / "run")
    if echo in (echo_error, echo_location):
        assert WITHHELD in told.err


@pytest.mark.parametrize(
    "raw", [f"HTTP/1.1 {KEY}\r\n\r\n", f"HTTP/1.1 500 {KEY}\r\n{KEY}\r\n\r\n", f"{KEY}", f"HTTP/1.1 200 OK\r\nA: {KEY}"]
)
def test_a_key_in_a_broken_reply_is_not_printed(
    judge: list[str],
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    raw: str,
) -> None:
    monkeypatch.setattr("tokenbench_tools.judge.server.ATTEMPTS", 1)
    server.raw = lambda wire: wire.write(raw.encode())
    assert call(*judge) == 4
    nothing_shows(capsys.readouterr().err, tmp_path / "run")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "http://a b/v1", "http://localhost:99x/v1", "http://[::1/v1", "", "http://", "ftp://x/v1",
        "http://x/v1?key=1", "http://x/v1#a", "http://x\\y/v1", "http://x:70000/v1", "//x/v1", "http:///v1", "http://x:0/v1",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_before_anything_is_asked(url: str) -> None:
    with pytest.raises(UsageError, match="not a valid server address") as error:
        Judge(url, "m")
    assert "key=1" not in str(error.value)


@pytest.mark.parametrize("url", ["http://me:s3cr3t@x/v1", "http://s3cr3t@x/v1", "http://good.example\\@s3cr3t/v1"])
def test_an_address_with_a_password_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError, match="has an @") as error:
        Judge(url, "m")
    assert "s3cr3t" not in str(error.value) + error.value.hint


@pytest.mark.parametrize("key", ["secret\n", "sec ret", "sécret", "secret\x00"])
def test_a_key_is_never_part_of_a_message(key: str) -> None:
    with pytest.raises(UsageError, match="non-ASCII or control characters") as error:
        Judge("http://localhost:1/v1", "m", key)
    assert key not in str(error.value)
    assert "secret" not in repr(Judge("http://localhost:1/v1", "m", "secret"))
