"""Faults at system calls on a run directory, at one after the other: the process ends there, or the disk does not answer."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.systems import only_posix

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
SIMPLE = [name for name in (*CHANGES, *READS) if hasattr(os, name) and name not in ("open", "read", "write")]
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
    only_posix("the calls on files that are watched are those made there")
    watcher = Watcher(folder, watch)
    with pytest.MonkeyPatch.context() as patch:
        for name in SIMPLE:
            patch.setattr(os, name, watcher.call(name, getattr(os, name)))
        for name in ("open", "close", "fdopen"):
            patch.setattr(os, name, getattr(watcher, name))
        yield


class Watcher:
    """Calls of the module `os`, told of before they are made where they concern the directory."""

    def __init__(self, folder: Path, watch: Watch) -> None:
        self._root, self._watch = os.path.abspath(folder), watch
        self._opened: dict[int, str] = {}
        self._open, self._close, self._fdopen = os.open, os.close, os.fdopen

    def call(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched_call(path: Any = ".", *args: Any, **options: Any) -> Any:
            if place := self._inside(path):
                self._watch(name, place)
            return call(path, *args, **options)

        return watched_call

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        place = self._inside(path)
        if place:
            new = flags & os.O_CREAT and not os.path.lexists(place)
            self._watch("create" if new else "truncate" if flags & os.O_TRUNC else "open", place)
        handle = self._open(path, flags, mode, dir_fd=dir_fd)
        if place:
            self._opened[handle] = place
        return handle

    def close(self, handle: int) -> None:
        self._opened.pop(handle, None)
        self._close(handle)

    def fdopen(self, handle: int, mode: str = "r", *args: Any, **options: Any) -> Any:
        if not (place := self._inside(handle)):
            return self._fdopen(handle, mode, *args, **options)
        raw = Raw(handle, mode.replace("b", ""), place, self._watch, lambda: self._opened.pop(handle, None))
        return io.BufferedReader(raw) if mode == "rb" else io.BufferedWriter(raw)

    def _inside(self, path: Any) -> str:
        """The path if it lies in the directory, else nothing."""
        if isinstance(path, int):
            return self._opened.get(path, "")
        place = os.path.abspath(os.fsdecode(path))
        return place if place == self._root or place.startswith(self._root + os.sep) else ""


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
