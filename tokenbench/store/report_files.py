"""The files of a report, written whole or not at all and never through a link."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenbench.errors import MachineError, printable
from tokenbench.store.files import make_folder, names, publish, sweep

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["csv_text", "emptied", "subfolder", "write_bytes", "write_text"]

MARK = ".tokenbench"  # a folder that a report made, and may empty
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet computes


def csv_text(table: pd.DataFrame) -> str:
    """A table as CSV, a line a row. Text that a spreadsheet would take for a formula stands behind an apostrophe; numbers are
    as they are.
    """
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
    """Write a file so that a reader sees the old content or the new one, never a part."""
    return write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> Path:
    """`write_text` for what is no text."""
    publish(path, content)
    return path


def emptied(folder: Path, name: str) -> Path:
    """An empty folder in the one that files go to, for what another library writes there. What an earlier report left in it is
    removed. Raises MachineError for a folder that holds anything else.
    """
    target = subfolder(folder, name)
    if (there := names(target, folder)) and MARK not in there:
        raise MachineError(
            f"{target} contains files that no report wrote", "move it away, or choose another folder for the reports"
        )
    shutil.rmtree(target)
    publish(subfolder(folder, name) / MARK, b"")
    return target


def subfolder(folder: Path, name: str) -> Path:
    """A folder in the one that files go to, made if need be. Raises MachineError for a link there: it would lead elsewhere."""
    target = make_folder(folder / name, folder)
    sweep(target, folder)
    return target
