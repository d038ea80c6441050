"""The door to a run directory: every file of it is opened here, and nowhere else.

A run directory may come from anybody, and may lie on a disk that fails at times. Therefore

* nothing below its root is reached through a link, and nothing but ordinary files is opened: no device, no pipe;
* what is read has a limit;
* a file appears whole or not at all, and a second name that it has elsewhere keeps what it held;
* an error of the disk stays an OSError, with the name of the file: it says nothing about what the file holds.

A path here always lies below `root`, the folder that a user named; what leads to the root is the user's own business.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tokenbench.errors import AGAIN, MachineError

__all__ = [
    "MOST_LINES",
    "append",
    "append_lines",
    "check_lock",
    "is_file",
    "is_temporary",
    "make_folder",
    "names",
    "publish",
    "read",
    "read_lines",
    "read_since",
    "remove",
    "set_aside",
    "sweep",
    "version",
]

MOST_BYTES = 256 * 2**20
"""Of a file that is read as one. A run.json of a million cells is smaller."""
MOST_LINES, LONGEST_LINE = 2**32, 2**24
"""Bytes of a file that is read line by line, and of a line; longer ones are cut into several."""
GUARDED = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"))  # where they exist
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp", re.DOTALL)
ATTEMPTS = 3


def is_file(path: Path, root: Path) -> bool:
    """Whether there is a file. Raises MachineError for a link, or anything else in its place; OSError if that cannot be known."""
    found = _found(path, root)
    if found is not None and not stat.S_ISREG(found.st_mode):
        raise MachineError(f"{path} is not a regular file", "remove it")
    return found is not None


def names(folder: Path, root: Path) -> list[str]:
    """The names in a folder, sorted; none if it is not there. Raises as `is_file` does."""
    if folder != root and _found(folder, root) is None:
        return []
    return sorted(os.listdir(folder))


def version(path: Path, root: Path) -> tuple[int, int, int] | None:
    """What tells a file from the one that replaces it, its size last; None if it is not there. Raises as `is_file` does."""
    found = _found(path, root)
    return None if found is None else (found.st_ino, found.st_mtime_ns, found.st_size)


def read(path: Path, root: Path, most: int = MOST_BYTES) -> bytes:
    """What a file holds.

    Raises MachineError for what is no file or has more than `most` bytes; OSError if it cannot be read.
    """
    with _opened(path, root, most) as file:
        return file.read()


def read_lines(path: Path, root: Path) -> Iterator[bytes]:
    """The lines of a file, one after the other. Raises as `read` does."""
    with _opened(path, root, MOST_LINES) as file:
        while line := file.readline(LONGEST_LINE):
            yield line


def read_since(path: Path, root: Path, start: int) -> tuple[int, bytes]:
    """What a file holds from byte `start` on, and where that begins: at 0 if it has become shorter. Raises as `read` does."""
    with _opened(path, root, MOST_LINES) as file:
        start = start if start <= os.fstat(file.fileno()).st_size else 0
        file.seek(start)
        return start, file.read()


def append(path: Path, root: Path, content: bytes) -> None:
    """Add to the end of a file, which need not be there yet."""
    with _named(path):
        handle = _open(path, root, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        if os.fstat(handle).st_nlink > 1:  # a copy made of hard links; the other name is not ours to change
            os.close(handle)
            publish(path, read(path, root, MOST_LINES), root)
            handle = _open(path, root, os.O_WRONLY | os.O_APPEND)
        with os.fdopen(handle, "ab") as file:
            file.write(content)


def append_lines(path: Path, root: Path, lines: Iterable[str]) -> None:
    """Add whole lines to the end of a file, in one write; a line that a full disk or a crash has torn is ended first."""
    append(path, root, "\n".join(["", *lines, ""]).encode())


def publish(path: Path, content: bytes, root: Path | None = None) -> None:
    """Write a file so that it appears whole or not at all, also after a crash. root: the file's own folder unless given."""
    root = path.parent if root is None else root
    if path.parent != root:
        _found(path.parent, root)
    for attempt in range(ATTEMPTS):
        try:
            _publish(path, content)
            return
        except FileNotFoundError:  # another process swept the temporary file away, or the folder is gone
            if attempt + 1 == ATTEMPTS or not path.parent.is_dir():
                raise


def remove(path: Path, root: Path) -> None:
    """Remove a file, or a link in its place; it need not be there."""
    _found(path.parent, root)
    with suppress(FileNotFoundError):
        os.unlink(path)


def set_aside(path: Path, root: Path) -> Path:
    """Rename a file to NAME.broken, or to NAME.broken.2 and so on where that is taken. Returns the new name.

    Raises FileNotFoundError if another process was faster.
    """
    _found(path.parent, root)
    taken, name = set(names(path.parent, root)), f"{path.name}.broken"
    free = next(n for n in (name, *(f"{name}.{i}" for i in range(2, len(taken) + 3))) if n not in taken)
    os.rename(path, path.with_name(free))
    return path.with_name(free)


def make_folder(folder: Path, root: Path) -> Path:
    """Make a folder, and those above it as far as they are not there. Raises MachineError for a link on the way."""
    if not root.is_dir():
        root.mkdir(parents=True, exist_ok=True)
    at = root
    for part in folder.relative_to(root).parts:
        at = at / part
        found = _found(at, root)
        if found is None:
            at.mkdir(exist_ok=True)
        elif not stat.S_ISDIR(found.st_mode):
            raise MachineError(f"{at} is not a folder", "remove it")
    return folder


def check_lock(path: Path, root: Path) -> None:
    """Raise MachineError for a file that must not be handed to a library that locks it, since that may empty it."""
    if is_file(path, root) and os.lstat(path).st_nlink > 1:
        raise MachineError(f"{path} has a second hard link", "delete the file, unless a process is running the run")


def is_temporary(name: str) -> bool:
    """Whether a file of this name is one that `publish` had not yet moved into place."""
    return TEMPORARY.fullmatch(name) is not None


def sweep(folder: Path, root: Path) -> None:
    """Remove the temporary files that killed processes left in a folder. Those of living ones are written again."""
    for name in filter(is_temporary, names(folder, root)):
        remove(folder / name, root)


def _publish(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with _named(path):
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | GUARDED, 0o666)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        _keep_name(path.parent)


def _keep_name(folder: Path) -> None:
    """Let the names in a folder outlive a power cut, where the system knows how."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network disks sync no folders
            raise
    finally:
        os.close(handle)


@contextmanager
def _opened(path: Path, root: Path, most: int) -> Iterator[IO[bytes]]:
    with _named(path), os.fdopen(_open(path, root, os.O_RDONLY), "rb") as file:
        if os.fstat(file.fileno()).st_size > most:
            raise MachineError(
                f"{path} is too large to read: it has more than {most >> 20} MiB", "TokenBench never writes such a file"
            )
        yield file


def _open(path: Path, root: Path, flags: int) -> int:
    is_file(path, root)  # before it is opened: a device may act when it is
    handle = os.open(path, flags | GUARDED, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise MachineError(f"{path} is not a regular file", "remove it")
    return handle


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of the system name the file; a lack of memory becomes a MachineError."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename if error.filename is not None else str(path)
        raise
    except MemoryError:
        raise MachineError(f"there is not enough memory for {path}", f"free some, and {AGAIN}") from None


def _found(path: Path, root: Path) -> os.stat_result | None:
    """What is at the path; None if nothing is. Raises MachineError if it, or anything between it and the root, is a link."""
    at, found = root, None
    for part in path.relative_to(root).parts:
        at = at / part
        try:
            found = os.lstat(at)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISLNK(found.st_mode) or _is_junction(found):
            raise MachineError(
                f"{at} is a link, and links are not allowed in a run directory", "replace it with its target"
            )
    return found


def _is_junction(found: os.stat_result) -> bool:
    """Whether it is a link to a folder, as Windows has them."""
    tag = getattr(found, "st_reparse_tag", 0)
    return bool(tag) and tag == getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", None)
