"""What not every system has, for the tests that need it: where it is missing they are skipped, with the reason.

Each function may be called in a test, a fixture, a helper or, for the whole module, at the top of it. `tests/test_portability.py` holds
that nothing of the kind is used in any other way.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["full_device", "link", "only_linux", "only_posix", "pipe", "small_disk", "socket_file"]


def only_posix(why: str) -> None:
    """Skip what Windows cannot do."""
    if os.name != "posix":
        pytest.skip(f"needs POSIX: {why}", allow_module_level=True)


def only_linux(why: str) -> None:
    """Skip what macOS cannot do, either."""
    if sys.platform != "linux":
        pytest.skip(f"needs Linux: {why}", allow_module_level=True)


def link(path: Path, target: Path | str) -> None:
    """Make a symbolic link."""
    only_posix("Windows lets administrators alone make symbolic links")
    path.symlink_to(target)


def pipe(path: Path) -> None:
    """Make a named pipe."""
    only_posix("pipes have no place among the files of Windows")
    os.mkfifo(path)


def socket_file(path: Path) -> None:
    """Make a socket."""
    only_posix("sockets have no place among the files of Windows")
    before = os.getcwd()
    os.chdir(path.parent)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Mount a file system of that size on a new folder."""
    only_linux("a small file system is mounted")
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def full_device() -> int:
    """Open a file on a disk that is always full."""
    only_linux("no other system has /dev/full")
    return os.open("/dev/full", os.O_WRONLY)
