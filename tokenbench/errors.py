"""The errors a person may see, with their exit codes.

TokenBenchError
├── UsageError     2   a wrong command, spec, name or plug-in
├── GateError      1   a condition given with --fail-if holds
├── StrategyError  3   a strategy broke the contract while it ran
├── SampleError    3   a sample cannot be shown: its image or clip is damaged, or too large
├── InfeasibleError 2  no schedule does what was asked for
├── SamplesError   2   the samples of a run cannot be compared
└── MachineError   4   this machine cannot do it: a missing download, an unwritable folder, broken weights

All else is a bug and comes with a traceback.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

__all__ = [
    "AGAIN",
    "GateError",
    "InfeasibleError",
    "MachineError",
    "SampleError",
    "SamplesError",
    "StrategyError",
    "TokenBenchError",
    "UsageError",
    "brief",
    "of_machine",
    "printable",
    "unknown",
]

AGAIN = "run the same command again"
"""What to do wherever nothing that was computed is lost."""

LONGEST = 100
"""Longer names are cut in messages."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
EXHAUSTED = (*FULL, errno.EIO, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ESTALE)
"""What the system says when it is at its end, whatever a library makes of it."""

DATABASE_FULL = 13
DATABASE = (7, 8, 10, DATABASE_FULL, 14)
"""What SQLite says then: no memory, read-only, I/O error, full, cannot be opened
(https://www.sqlite.org/rescode.html)."""

ROOM = f"free some space, and {AGAIN}"


class TokenBenchError(Exception):
    """An expected error: one line that says what is wrong, where, and how to fix it.

    Args:
        message: What is wrong, and where.
        hint: How to fix it, printed below the message.
    """

    exit_code = 70
    row: int | None = None
    """The row of a batch that the error is about; None if it is not about one."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(TokenBenchError):
    """What was asked for is wrong or unknown."""

    exit_code = 2


class GateError(TokenBenchError):
    """A comparison does not meet a condition that was set for it."""

    exit_code = 1


class StrategyError(TokenBenchError):
    """A strategy returned something the engine cannot use."""

    exit_code = 3


class SampleError(TokenBenchError):
    """A sample cannot be shown to a model."""

    exit_code = 3
    reason: str = ""
    """Why, without the sample's name."""


class InfeasibleError(TokenBenchError):
    """A strategy has no schedule of the cost that was asked for."""

    exit_code = 2


class SamplesError(UsageError, ValueError):
    """The samples of a run cannot be compared: there is no vanilla, or no sample that every cell has scored."""


class MachineError(TokenBenchError):
    """What was asked for is fine, but not on this machine as it is."""

    exit_code = 4


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> UsageError:
    """Return the error for a name that is not registered, with the nearest names or with all of them."""
    names = sorted(known)
    name = name if len(name) <= LONGEST else f"{name[:LONGEST]}…"
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        suggestion = "did you mean " + " or ".join(near) + "?"
    else:
        suggestion = f"known: {', '.join(names)}" if names else f"no {kind} is registered"
    return UsageError(f"unknown {kind} '{name}': {suggestion}", hint)


def printable(text: str) -> str:
    """Return the text on one line, with escapes for characters that a terminal would obey or cannot show."""
    return "".join(sign if sign.isprintable() else _escape(sign) for sign in re.sub(r"\s*\n\s*", " ", text.strip()))


def brief(error: BaseException) -> str:
    """Summarise another library's error on one line: its class and its message.

    A long message loses its middle, since the reason may stand at either end, beside a long path.
    """
    text = " ".join(str(error).split())
    if len(text) > 2 * LONGEST:
        text = f"{text[:LONGEST]} … {text[-LONGEST:]}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def of_machine(error: BaseException) -> MachineError | None:
    """Return the error as a MachineError if this machine causes it: a full disk, no memory, an unreadable file.

    Once the disk is full, a library may fail again while it cleans up: the error that it was handling then counts. For
    any other error the result is None.
    """
    for at, one in enumerate(_chain(error)):
        if isinstance(one, MemoryError):
            return MachineError("this machine does not have enough memory for this")
        if isinstance(one, OSError) and one.errno and (at == 0 or one.errno in EXHAUSTED):
            reason = one.strerror or os.strerror(one.errno)
            full = one.errno in FULL
            name = (full and one.filename2) or one.filename  # of a copy, it is the target that has no room
            return MachineError(f"{_name(name)}: {reason}" if name else reason, ROOM if full else "")
        if (code := getattr(one, "sqlite_errorcode", 0) & 0xFF) in DATABASE:  # the low byte is the kind
            return MachineError(str(one), ROOM if code == DATABASE_FULL else "")
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Walk from an error to those that it was raised from."""
    following: BaseException | None = error
    seen: set[int] = set()
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)


def _name(filename: str | bytes | int) -> str:
    return os.fsdecode(filename) if isinstance(filename, bytes) else str(filename)


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode()
