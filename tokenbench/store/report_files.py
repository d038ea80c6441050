"""The files of a report, which are written whole or not at all, and never through a link."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenbench.errors import MachineError, printable
from tokenbench.store.files import make_folder, names, sweep, write_atomically

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["csv_text", "make_empty", "remove_made", "subfolder", "write_bytes", "write_text"]

MARK = ".tokenbench"
"""The name of a file that marks a folder which a report made and may empty."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""The beginnings of text that a spreadsheet takes for a formula."""


def csv_text(table: pd.DataFrame) -> str:
    """Return a table as CSV, one line per row. An apostrophe precedes text that a spreadsheet would take for a formula."""
    from pandas.api.types import is_numeric_dtype

    def safe(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        text = value if value.isprintable() else printable(value)
        return f"'{text}" if value.startswith(FORMULA) else text

    text = [name for name in table.columns if not is_numeric_dtype(table[name])]
    safely = table.assign(**{name: table[name].map(safe) for name in text}).rename(columns=safe)
    return str(safely.to_csv(index=False, lineterminator="\n"))


def write_text(path: Path, text: str) -> Path:
    """Write a file so that a reader sees either the old or the new content, never a part. Return its path."""
    return write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file as `write_text` does. Return its path."""
    write_atomically(path, content)
    return path


def make_empty(folder: Path, name: str) -> Path:
    """Make an empty folder that another library may write to. Files of an earlier report in it are removed.

    Args:
        folder: The folder of the reports.
        name: The name of the folder in it.

    Returns:
        The folder.

    Raises:
        MachineError: The folder holds files that no report wrote.
    """
    target = subfolder(folder, name)
    if (there := names(target, folder)) and MARK not in there:
        raise MachineError(
            f"{target} contains files that no report wrote", "move it away, or choose another folder for the reports"
        )
    shutil.rmtree(target)
    write_atomically(subfolder(folder, name) / MARK, b"")
    return target


def remove_made(folder: Path, name: str) -> None:
    """Remove a folder that `make_empty` made for an earlier report. A folder that no report made stays.

    Args:
        folder: The folder of the reports.
        name: The name of the folder in it.
    """
    if MARK in names(folder / name, folder):
        shutil.rmtree(folder / name)


def subfolder(folder: Path, name: str) -> Path:
    """Make a folder in the folder of the reports, unless it exists. Return it.

    Raises:
        MachineError: There is a link in its place.
    """
    target = make_folder(folder / name, folder)
    sweep(target, folder)
    return target
