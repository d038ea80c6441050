"""What the doors of TokenBench have in common: bad inputs, each with the exit code that is documented for its kind."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

USAGE, SAMPLE, MACHINE = 2, 3, 4
JUNK = (
    "a\nb",
    "\x1b[2J\x1b]0;owned\x07",
    "caf\udce9",  # an argument that is not UTF-8, as Python hands it on
    "\u202egnp",
    "../../etc/passwd",
    "{0.__class__}%s%n",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "💥" * 3,
    "x" * 5000,
    "\x00",
    "nan",
    "-1",
    "1e999",
    "²",
    "٣",
    "9" * 5000,
    "''",
    "\\",
    "$(touch owned)",
)


@dataclass(frozen=True)
class Bad:
    """One bad input.

    what: its kind. code: the exit code documented for it. prepare: writes the files it needs into an empty folder, which is
    also the working directory, and returns the command line.
    """

    what: str
    code: int
    prepare: Callable[[Path], Sequence[str]]


def junk(rng: random.Random) -> str:
    """Text that is nobody's name and no number a command takes, without commas, which would make several of it."""
    text = rng.choice(JUNK)
    return (
        text if rng.random() < 0.7 else "zz" + "".join(rng.choice("\n\t\x1b\x7fäß中\u2028 '\"|*_<&") for _ in range(8))
    )


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file, link and folder below a folder with what it holds, but for what Python itself keeps beside a plug-in."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if "__pycache__" not in path.parts):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = b"-> " + str(path.readlink()).encode(errors="surrogateescape")
        elif path.is_file():
            found[name] = path.read_bytes()
        else:
            found[name] = b"folder" if path.is_dir() else b"special"
    return found
