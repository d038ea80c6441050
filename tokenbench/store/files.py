"""The door to a run directory: every file of it is opened here, and nowhere else.

A run directory may come from anybody, and may lie on a disk that fails at times. Therefore

* nothing below its root is reached through a link, and only regular files are opened: no device, no pipe;
* reading has a size limit;
* a file appears whole or not at all, and a second hard link to it keeps its content;
* a disk error stays an OSError with the name of the file, since it says nothing about the content of the file.

Every path given to these functions lies below `root`, the folder that a user named. Links above the root are followed. Unless a
function says otherwise, it raises MachineError for a link or anything else that is not a regular file, and OSError if the disk
fails.
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
    "read",
    "read_lines",
    "read_since",
    "remove",
    "set_aside",
    "sweep",
    "version",
    "write_atomically",
]

MOST_BYTES = 256 * 2**20
"""The largest file that is read at once, in bytes. A run.json of a million cells is smaller."""
MOST_LINES, LONGEST_LINE = 2**32, 2**24
"""The largest file that is read line by line, and the longest line, in bytes. A longer line is cut into several."""
GUARDED = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"))  # where they exist
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp", re.DOTALL)
ATTEMPTS = 3


def is_file(path: Path, root: Path) -> bool:
    """Return whether the file exists."""
    status = _lstat(path, root)
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise MachineError(f"{path} is not a regular file", "remove it")
    return status is not None


def names(folder: Path, root: Path) -> list[str]:
    """Return the names in a folder, sorted; an empty list if the folder does not exist."""
    if folder != root and _lstat(folder, root) is None:
        return []
    return sorted(os.listdir(folder))


def version(path: Path, root: Path) -> tuple[int, int, int] | None:
    """Return inode, modification time (ns) and size of a file, which change when it is replaced; None if it does not exist."""
    status = _lstat(path, root)
    return None if status is None else (status.st_ino, status.st_mtime_ns, status.st_size)


def read(path: Path, root: Path, most: int = MOST_BYTES) -> bytes:
    """Return the content of a file.

    Args:
        path: The file.
        root: The run directory.
        most: The largest size to read, in bytes.

    Raises:
        MachineError: It is not a regular file, or larger than `most` bytes.
        OSError: It does not exist, or cannot be read.
    """
    with _open_to_read(path, root, most) as file:
        return file.read()


def read_lines(path: Path, root: Path) -> Iterator[bytes]:
    """Yield the lines of a file."""
    with _open_to_read(path, root, MOST_LINES) as file:
        while line := file.readline(LONGEST_LINE):
            yield line


def read_since(path: Path, root: Path, start: int) -> tuple[int, bytes]:
    """Read a file from a byte on.

    Args:
        path: The file.
        root: The run directory.
        start: The first byte to read.

    Returns:
        The first byte that was read, which is 0 if the file has become shorter than `start`; and the content from there.
    """
    with _open_to_read(path, root, MOST_LINES) as file:
        start = start if start <= os.fstat(file.fileno()).st_size else 0
        file.seek(start)
        return start, file.read()


def append(path: Path, root: Path, content: bytes) -> None:
    """Append to a file, and create it if it does not exist."""
    with _name_errors(path):
        handle = _open(path, root, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        if os.fstat(handle).st_nlink > 1:  # a copy made of hard links; the other name is not ours to change
            os.close(handle)
            write_atomically(path, read(path, root, MOST_LINES), root)
            handle = _open(path, root, os.O_WRONLY | os.O_APPEND)
        with os.fdopen(handle, "ab") as file:
            file.write(content)


def append_lines(path: Path, root: Path, lines: Iterable[str]) -> None:
    """Append whole lines to a file, in one write. A line that a full disk or a crash has torn is ended first."""
    append(path, root, "\n".join(["", *lines, ""]).encode())


def write_atomically(path: Path, content: bytes, root: Path | None = None) -> None:
    """Write a file so that it appears whole or not at all, even after a crash.

    Args:
        path: The file, which is replaced if it exists.
        content: The content of the file.
        root: The run directory; by default, the file's own folder.
    """
    root = path.parent if root is None else root
    if path.parent != root:
        _lstat(path.parent, root)
    for attempt in range(ATTEMPTS):
        try:
            _write_and_rename(path, content)
            return
        except FileNotFoundError:  # another process swept the temporary file away, or the folder is gone
            if attempt + 1 == ATTEMPTS or not path.parent.is_dir():
                raise


def remove(path: Path, root: Path) -> None:
    """Remove a file, or a link in its place, if it exists."""
    _lstat(path.parent, root)
    with suppress(FileNotFoundError):
        os.unlink(path)


def set_aside(path: Path, root: Path) -> Path:
    """Rename a file to NAME.broken, or to NAME.broken.2 and so on if that name is taken.

    Returns:
        The new path.

    Raises:
        FileNotFoundError: Another process renamed it first.
    """
    _lstat(path.parent, root)
    taken, name = set(names(path.parent, root)), f"{path.name}.broken"
    free = next(n for n in (name, *(f"{name}.{i}" for i in range(2, len(taken) + 3))) if n not in taken)
    os.rename(path, path.with_name(free))
    return path.with_name(free)


def make_folder(folder: Path, root: Path) -> Path:
    """Make a folder below the root, and its parents, unless they exist. Return the folder."""
    if not root.is_dir():
        root.mkdir(parents=True, exist_ok=True)
    at = root
    for part in folder.relative_to(root).parts:
        at = at / part
        status = _lstat(at, root)
        if status is None:
            at.mkdir(exist_ok=True)
        elif not stat.S_ISDIR(status.st_mode):
            raise MachineError(f"{at} is not a folder", "remove it")
    return folder


def check_lock(path: Path, root: Path) -> None:
    """Check that a file may be given to a library that locks it, since locking may empty the file.

    Raises:
        MachineError: The file has a second hard link, or is not a regular file.
    """
    if is_file(path, root) and os.lstat(path).st_nlink > 1:
        raise MachineError(f"{path} has a second hard link", "delete the file, unless a process is running the run")


def is_temporary(name: str) -> bool:
    """Return whether this is the name of a file that `write_atomically` has not yet moved into place."""
    return TEMPORARY.fullmatch(name) is not None


def sweep(folder: Path, root: Path) -> None:
    """Remove the temporary files that killed processes left in a folder. A living process writes its own again."""
    for name in filter(is_temporary, names(folder, root)):
        remove(folder / name, root)


def _write_and_rename(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with _name_errors(path):
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
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut, where the system supports it."""
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
def _open_to_read(path: Path, root: Path, most: int) -> Iterator[IO[bytes]]:
    with _name_errors(path), os.fdopen(_open(path, root, os.O_RDONLY), "rb") as file:
        if os.fstat(file.fileno()).st_size > most:
            raise MachineError(
                f"{path} is too large to read: it has more than {most >> 20} MiB", "TokenBench never writes such a file"
            )
        yield file


def _open(path: Path, root: Path, flags: int) -> int:
    is_file(path, root)  # checked before opening: a device may act when it is opened
    handle = os.open(path, flags | GUARDED, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise MachineError(f"{path} is not a regular file", "remove it")
    return handle


@contextmanager
def _name_errors(path: Path) -> Iterator[None]:
    """Add the name of the file to system errors, and turn a lack of memory into a MachineError."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)  # not that of its temporary file
        raise
    except MemoryError:
        raise MachineError(f"there is not enough memory for {path}", f"free some, and {AGAIN}") from None


def _lstat(path: Path, root: Path) -> os.stat_result | None:
    """Return the status of a path, or None if it does not exist.

    Raises:
        MachineError: The path, or any folder between it and the root, is a link.
    """
    at, status = root, None
    for part in path.relative_to(root).parts:
        at = at / part
        try:
            status = os.lstat(at)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISLNK(status.st_mode) or _is_junction(status):
            raise MachineError(
                f"{at} is a link, and links are not allowed in a run directory", "replace it with its target"
            )
    return status


def _is_junction(status: os.stat_result) -> bool:
    """Return whether this is a link to a folder of the kind that Windows has."""
    tag = getattr(status, "st_reparse_tag", 0)
    return bool(tag) and tag == getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", None)
