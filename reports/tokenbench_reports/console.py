"""The terminal that reports are printed on: its width, its colours and the signs that it has."""

import io
from typing import IO, TextIO

from rich.console import Console

__all__ = ["READABLE", "open_console"]

READABLE = 100
"""Prose is not set wider than this, however wide the terminal is."""
PLAIN = str.maketrans({"●": "*", "○": "o", "─": "-", "┊": "|", "×": "x", "−": "-", "–": "-", "…": "~", "≠": "!", "≤": "<",
                       "›": ">", "·": "."})  # fmt: skip
"""What stands for each sign of the reports where the encoding lacks it; as wide as the sign."""


def open_console(out: TextIO, unlimited: int) -> Console:
    """Open a console on a stream.

    Args:
        out: Where to print. Signs that its encoding lacks are replaced by plain ones.
        unlimited: The width where there is none, in a file or a pipe.
    """
    file: IO[str] = out if _has_signs(out) else _Plain(out)
    console = Console(file=file, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = unlimited
    return console


def _has_signs(out: TextIO) -> bool:
    try:
        "".join(map(chr, PLAIN)).encode(getattr(out, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


class _Plain(io.StringIO):
    """A stream that replaces the signs of the reports by plain ones."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._out.encoding

    def write(self, text: str, /) -> int:
        return self._out.write(text.translate(PLAIN))

    def flush(self) -> None:
        self._out.flush()

    def isatty(self) -> bool:
        return self._out.isatty()

    def fileno(self) -> int:
        return self._out.fileno()
