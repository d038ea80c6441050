"""Faults at system calls on a run directory, at one after the other: the process ends there, or the disk does not answer."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHANGES = (
    "create",
    "mkdir",
    "rmdir",
    "unlink",
    "replace",
    "rename",
    "link",
    "truncate",
    "fsync",
    "write",
    "write half",
)
READS = ("open", "read", "lstat", "stat", "listdir", "scandir")
Watch = Callable[[str, str], None]
"""Told of every system call on the directory before it is made: its name, and the path."""


class Killed(BaseException):
    """The process is no more; whatever it does from here on changes nothing on the disk."""


class Points:
    """Counts calls of some names, and acts at one of them."""

    def __init__(self, names: tuple[str, ...], at: int = -1, act: Callable[[str], None] = lambda path: None) -> None:
        self._names, self._at, self._act = names, at, act
        self.seen: list[str] = []

    def __call__(self, call: str, path: str) -> None:
        if call in self._names:
            self.seen.append(f"{call} {Path(path).name}")
            if len(self.seen) - 1 == self._at:
                self._act(path)


class Dead(Points):
    """At one of the calls, and at all that follow, the process is dead."""

    def __call__(self, call: str, path: str) -> None:
        if 0 <= self._at <= len(self.seen):
            raise Killed
        super().__call__(call, path)


@contextmanager
def watched(folder: Path, watch: Watch) -> Iterator[None]:
    """Have every system call on a directory and what is in it watched, as far as Python code makes it."""
    root, opened = os.path.abspath(folder), {}

    def inside(path: Any) -> str:
        """The path if it lies in the directory, else nothing."""
        if isinstance(path, int):
            return opened.get(path, "")
        place = os.path.abspath(os.fsdecode(path))
        return place if place == root or place.startswith(root + os.sep) else ""

    def watching(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched_call(path: Any = ".", *args: Any, **options: Any) -> Any:
            if place := inside(path):
                watch(name, place)
            return call(path, *args, **options)

        return watched_call

    def watched_open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        place = inside(path)
        if place:
            new = flags & os.O_CREAT and not os.path.lexists(place)
            watch("create" if new else "truncate" if flags & os.O_TRUNC else "open", place)
        handle = there["open"](path, flags, mode, dir_fd=dir_fd)
        if place:
            opened[handle] = place
        return int(handle)

    def watched_close(handle: int) -> None:
        opened.pop(handle, None)
        there["close"](handle)

    def watched_fdopen(handle: int, mode: str = "r", *args: Any, **options: Any) -> Any:
        if not inside(handle):
            return there["fdopen"](handle, mode, *args, **options)
        raw = Raw(handle, mode.replace("b", ""), inside(handle), watch, lambda: opened.pop(handle, None))
        return io.BufferedReader(raw) if mode == "rb" else io.BufferedWriter(raw)

    simple = [name for name in (*CHANGES, *READS) if hasattr(os, name) and name not in ("open", "read", "write")]
    there = {name: getattr(os, name) for name in (*simple, "open", "close", "fdopen")}
    with pytest.MonkeyPatch.context() as patch:
        for name in simple:
            patch.setattr(os, name, watching(name, there[name]))
        patch.setattr(os, "open", watched_open)
        patch.setattr(os, "close", watched_close)
        patch.setattr(os, "fdopen", watched_fdopen)
        yield


class Raw(io.FileIO):
    """A file that tells of every read and write; a write is made in two halves."""

    def __init__(self, handle: int, mode: str, path: str, watch: Watch, closed: Callable[[], object]) -> None:
        super().__init__(handle, mode)
        self._path, self._watch, self._forget = path, watch, closed

    def close(self) -> None:
        self._forget()
        super().close()

    def readall(self) -> bytes:
        self._watch("read", self._path)
        return super().readall()

    def readinto(self, buffer: Any) -> Any:
        self._watch("read", self._path)
        return super().readinto(buffer)

    def write(self, content: Any) -> int:
        content = bytes(content)
        self._watch("write", self._path)
        first = super().write(content[: len(content) // 2])
        self._watch("write half", self._path)
        return int(first) + int(super().write(content[first:]))
