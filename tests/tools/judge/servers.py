"""Judges on this machine: a server that does as each test says, and remembers every request."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from tokenbench.runner.progress import Progress, progress

GIVEN = re.compile(r'Given answer: "(.*)"')


@dataclass
class Request:
    """What came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def given(self) -> str:
        """The answer to be rated, as it stands in the prompt."""
        found = GIVEN.search(self.body["messages"][0]["content"])
        assert found
        return found[1]


def said(content: Any) -> bytes:
    """A chat completion."""
    return json.dumps({"model": "judge-2026", "choices": [{"message": {"content": content}}]}).encode()


def yes_to_r(request: Request) -> tuple[int, dict[str, str], bytes]:
    """Yes to answers that begin with r."""
    return 200, {}, said("Yes." if request.given.startswith("r") else "no")


Answer = Callable[[Request], tuple[int, dict[str, str], bytes]]


class Server:
    """answer: what it does with a request; raw: what it does with the connection instead."""

    def __init__(self, answer: Answer = yes_to_r) -> None:
        self.asked: list[Request] = []
        self.answer = answer
        self.raw: Callable[[Any], None] | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = Request(self.command, self.path, dict(self.headers), json.loads(body or b"{}"))
                outer.asked.append(request)
                if outer.raw:
                    self.close_connection = True
                    outer.raw(self.wfile)
                    return
                status, headers, content = outer.answer(request)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        class Http(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:  # the other side may go away
                pass

        self.http = Http(("127.0.0.1", 0), Handler)
        Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        self.port = self.http.server_port
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


def silent(total: int) -> Any:
    """No progress."""
    return progress(total, open(os.devnull, "w", encoding="utf-8"), True)


__all__ = ["Progress", "Request", "Server", "said", "silent", "yes_to_r"]
