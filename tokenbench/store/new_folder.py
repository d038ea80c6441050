"""A new folder that appears whole or not at all, such as an export, a merged run or a site."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokenbench.errors import MachineError, UsageError

__all__ = ["check_new", "new_folder"]


def check_new(folder: Path, option: str) -> None:
    """Check that a folder can be made.

    Args:
        folder: The folder to make; it may exist if it is empty.
        option: The option with which the user chooses it, for errors.

    Raises:
        UsageError: The folder holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} already exists and is not empty", f"choose a new folder with {option}")


@contextmanager
def new_folder(folder: Path, option: str) -> Iterator[Path]:
    """Make a folder beside the one that is wanted, and move it into place at the end, unless there was an error.

    Args:
        folder: The folder to make; it may exist if it is empty.
        option: The option with which the user chooses it.

    Yields:
        The folder to write to.

    Raises:
        UsageError: The folder holds something.
        MachineError: The folder cannot be written.
    """
    check_new(folder, option)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".tmp"))
        try:
            yield made
            made.chmod(0o755)
            os.replace(made, folder)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    except OSError as error:
        raise MachineError(f"cannot write {folder}: {error.strerror or error}") from None


def _sweep(folder: Path) -> None:
    """Remove what killed processes left behind that made the same folder."""
    left = re.compile(rf"\.{re.escape(folder.name)}\.[a-z0-9_]{{8}}\.tmp")
    for path in folder.parent.iterdir():
        if left.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
