"""How commands print: the one place that escapes text of runs, plug-ins, servers and files, and that survives a closed pipe.

Standard output may be a pipe that nobody reads to its end, or a file on a full disk. Neither stops a command: output that cannot be
written is dropped, so that gates are still checked, files are still written, and the exit code is the command's own.
"""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import time
from typing import Any, TextIO

from tokenbench.errors import printable

__all__ = ["lost", "open_streams", "say", "say_json"]


def say(*lines: object, err: bool = False) -> None:
    """Print lines. Control characters are escaped, so that each stays one line and a terminal obeys none of them."""
    stream = sys.stderr if err else sys.stdout
    for line in lines:
        text = str(line)
        stream.write(" " * (len(text) - len(text.lstrip(" "))) + printable(text) + "\n")
    stream.flush()


def say_json(value: Any) -> None:
    """Print a value as JSON, in printable ASCII."""
    sys.stdout.write(json.dumps(value, indent=2).replace("\x7f", "\\u007f") + "\n")
    sys.stdout.flush()


def open_streams() -> None:
    """Make the standard streams drop output that cannot be written, and escape characters that their encoding lacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the parent process closed it; its number must not go to another file
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _unbreakable(stream, line_buffering=name == "stderr" or stream.isatty()))


def lost() -> OSError | None:
    """Return the error that kept output from being written; None if there was none, or if only the reader went away."""
    sys.stdout.flush()
    error = getattr(getattr(getattr(sys.stdout, "buffer", None), "raw", None), "error", None)
    return error if isinstance(error, OSError) and not _reader_gone(error) else None


def _unbreakable(stream: TextIO, line_buffering: bool) -> TextIO:
    """Wrap a stream in one that drops output after an error. The console of Windows, which has no descriptor, stays as it is."""
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if not isinstance(raw, io.FileIO):
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Outlet(raw.fileno())),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=line_buffering,
    )


class _Outlet(io.RawIOBase):
    """A file descriptor that keeps the error of the first failed write as `error`, and drops all later output."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.error: OSError | None = None

    def write(self, data: Any, /) -> int:
        while self.error is None:
            try:
                return os.write(self._number, data)
            except BlockingIOError:  # the other end shares the pipe with a program that does not wait
                time.sleep(0.01)
            except OSError as error:
                self.error = error
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)


def _reader_gone(error: OSError) -> bool:
    return isinstance(error, BrokenPipeError) or (os.name == "nt" and error.errno == errno.EINVAL)
