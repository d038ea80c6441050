"""A key that a server may send back: what shows a part of it is neither printed nor stored."""

from __future__ import annotations

import html
import re
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import unquote

__all__ = ["WITHHELD", "Secret"]

WITHHELD = "(withheld: it shows the key)"
PART = 8  # letters and digits in a row that count as a part of the key
PLACEHOLDER = 4  # what has fewer of them is no secret, but a word for servers that ask for none
ESCAPE = re.compile(r"\\(?:x|u00)([0-9a-fA-F]{2})")


class Secret:
    """A key, known by its parts: as it is, reversed, in base64 or hexadecimal, in capitals, or with signs in between."""

    def __init__(self, key: str) -> None:
        self._parts = {part for form in _forms(key) for part in _parts(_letters(form))}

    def withhold(self, text: str) -> str:
        """The text, unless it shows a part of the key in any of these forms, also escaped as in JSON, HTML or an address."""
        if not self._parts:
            return text
        told = _letters(text) + " " + _letters(_unescaped(text))
        return WITHHELD if any(part in told for part in self._parts) else text


def _forms(key: str) -> Iterator[str]:
    yield from (key, key[::-1], key.encode().hex())
    for before in range(3):  # what base64 makes of a key depends on where it stands in what is encoded
        encoded = b64encode(b"\0" * before + key.encode()).decode().rstrip("=")
        yield encoded[-(-before * 8 // 6) : (before + len(key)) * 8 // 6]


def _parts(letters: str) -> Iterator[str]:
    length = min(PART, len(letters))
    return (letters[at : at + length] for at in range(len(letters) - length + 1) if length >= PLACEHOLDER)


def _letters(text: str) -> str:
    return re.sub(r"[^0-9a-z]", "", text.lower())


def _unescaped(text: str) -> str:
    for _ in range(3):  # an address in HTML in JSON
        text = html.unescape(unquote(ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)))
    return text
