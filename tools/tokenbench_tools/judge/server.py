"""One call to the judge's server: only the address that the user named is asked, no longer than a deadline."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from tokenbench.errors import UsageError, printable
from tokenbench_tools.judge.question import PROMPT, Asked
from tokenbench_tools.judge.secret import Secret

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

__all__ = ["ATTEMPTS", "Judge", "NoReplyError", "Reply"]

ATTEMPTS = 4
BUSY = (408, 425, 429, 503)  # the server asks to come back
LONGEST_REPLY = 2**20  # bytes
ADDRESS = re.compile(r"https?://[\w.:\[\]-]+(/[\w.~%:!$&'()*+,;=/-]*)?", re.ASCII)  # no name or password, no query
PLAIN_KEY = re.compile(r"[!-~]*")
PROBE = Asked("What color is the ball?", "red", "red").prompt


class Reply(NamedTuple):
    """What came back from the judge."""

    text: str
    """What the judge said."""
    served: str
    """The model that said it, as the server names it."""


class NoReplyError(Exception):
    """A call that brought no reply.

    Args:
        reason: Why, in words for the user.
        passing: Whether the same call may succeed later.
        busy: Whether the server itself said that it is busy.
    """

    def __init__(self, reason: str, passing: bool, busy: bool = False) -> None:
        super().__init__(reason)
        self.passing, self.busy = passing, busy


@dataclass(frozen=True)
class Judge:
    """A model behind an OpenAI-compatible address."""

    url: str
    """The address up to `/v1`. Redirects are not followed, and a proxy from the environment is used for https alone,
    where it cannot read along."""
    model: str
    """The judge, by the name that the server knows."""
    key: str = field(default="", repr=False)
    """The API key, if the server asks for one. It is sent to `url` and nowhere else, and is never printed or stored."""
    pause: float = 1.0
    """Seconds before a failed call is repeated for the first time; every later repetition waits twice as long."""
    timeout: float = 60.0
    """Seconds that one call may take, from the connection to the last byte."""

    def __post_init__(self) -> None:
        """Check the address and the key before anything is asked.

        Raises:
            UsageError: If the address is not valid, or the key contains characters that no header can carry.
        """
        if "@" in self.url:
            raise UsageError(
                "the address of the judge must not contain a user name or password (it has an @)",
                "give the server only, and the key with --key-from",
            )
        try:
            place = urlsplit(self.url)
            sound = ADDRESS.fullmatch(self.url) and place.hostname and place.port != 0
        except ValueError:
            sound = False
        if not sound:
            shown = re.split("[?#]", self.url)[0][:100]  # a query may hold a password
            raise UsageError(
                f"'{shown}' is not a valid server address", "write, for example, --url http://localhost:8000/v1"
            )
        if not PLAIN_KEY.fullmatch(self.key):
            raise UsageError(
                "the API key contains non-ASCII or control characters", "check the variable named by --key-from"
            )

    @property
    def identity(self) -> str:
        """The judge's name, and a hash of the name and of the prompt."""
        digest = hashlib.sha256(f"{self.model}\n{PROMPT}".encode()).hexdigest()[:8]
        return f"{re.sub(r'[^A-Za-z0-9.]+', '-', self.model)[:100]}-{digest}"

    @property
    def label(self) -> str:
        """What messages call the judge."""
        return self.withhold(f"judge '{self.model}' at {self.url}")

    def withhold(self, text: str) -> str:
        """Return the text unless it shows a part of the key."""
        return self._secret.withhold(text)

    def client(self, workers: int) -> AsyncClient:
        """Return a client with connections for that many calls at once.

        Raises:
            UsageError: If a proxy from the environment cannot be used.
        """
        import httpx2

        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        try:
            return httpx2.AsyncClient(
                headers=headers,
                timeout=None,  # a call has one deadline, see _call
                limits=httpx2.Limits(max_connections=workers),
                follow_redirects=False,
                trust_env=self.url.startswith("https"),
            )
        except (ImportError, ValueError, httpx2.InvalidURL) as error:
            raise UsageError(
                f"the proxy set in the environment cannot be used: {self.withhold(str(error))[:100]}",
                "see HTTPS_PROXY and ALL_PROXY; NO_PROXY makes exceptions",
            ) from None

    async def reply(self, client: AsyncClient, prompt: str, go_on: Callable[[], bool]) -> Reply:
        """Ask the judge. A call that fails for a passing reason is repeated while `go_on` returns True.

        Raises:
            NoReplyError: If there is no reply in the end.
        """
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(self.pause * 2 ** (attempt - 1))
            try:
                return await self._call(client, prompt)
            except NoReplyError as trouble:
                if not trouble.passing or attempt == ATTEMPTS - 1 or not go_on():
                    raise
        raise AssertionError

    async def replies(self, client: AsyncClient) -> bool:
        """Whether the server replies to a harmless question."""
        try:
            await self._call(client, PROBE)
        except NoReplyError:
            return False
        return True

    async def _call(self, client: AsyncClient, prompt: str) -> Reply:
        import httpx2

        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": 16,
        }
        address = f"{self.url.rstrip('/')}/chat/completions"
        try:
            async with asyncio.timeout(self.timeout):
                async with client.stream("POST", address, content=json.dumps(body).encode()) as response:
                    status, content = response.status_code, await _content(response)
                    moved = response.headers.get("Location", "")
        except TimeoutError:
            raise NoReplyError(f"no reply within {self.timeout:g} s", passing=True) from None
        except (httpx2.HTTPError, httpx2.StreamError, OSError, ValueError) as error:
            raise NoReplyError(self.withhold(_innermost(error)), passing=True) from None
        if status != 200:
            busy = status in BUSY
            raise NoReplyError(self._refusal(status, content, moved), passing=busy or status >= 500, busy=busy)
        try:
            said = json.loads(content)
            text, served = said["choices"][0]["message"].get("content"), said.get("model")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise NoReplyError("its response is not a chat completion", passing=True) from None
        return Reply(*(part.strip() if isinstance(part, str) else "" for part in (text, served)))

    def _refusal(self, status: int, content: bytes, moved: str) -> str:
        """A status that is no reply, with what the server says about it."""
        if 300 <= status < 400:
            said = f"it sends the question to {moved[:100]}, and redirects are not followed" if moved else "a redirect"
        else:
            said = _message(content)
        return f"status {status}: {self.withhold(said)}" if said else f"status {status}"

    @cached_property
    def _secret(self) -> Secret:
        return Secret(self.key)


async def _content(response: Response) -> bytes:
    content = b""
    async for part in response.aiter_bytes():
        content += part
        if len(content) > LONGEST_REPLY:
            raise ValueError(f"its reply is longer than {LONGEST_REPLY >> 20} MiB")
    return content


def _message(content: bytes) -> str:
    """The sentence in the body of an error, where servers of this kind put it."""
    try:
        said = json.loads(content)
        found = said.get("error", said)
        found = found if isinstance(found, str) else found.get("message", said.get("detail"))
    except (ValueError, AttributeError, RecursionError):
        return ""
    return printable(found)[:200] if isinstance(found, str) else ""


def _innermost(error: BaseException) -> str:
    """What lies at the bottom of an error, such as "Connection refused"."""
    while deeper := error.__cause__ or error.__context__:
        error = deeper
    if isinstance(error, ssl.SSLError | socket.gaierror):
        return error.strerror or str(error)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
