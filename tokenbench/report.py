"""The contract of a report format: it is handed a finished comparison and shows it; it tests nothing itself."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TextIO

from tokenbench.comparison import Comparison
from tokenbench.errors import printable
from tokenbench.store.files import publish
from tokenbench.store.run import Run

if TYPE_CHECKING:
    import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet computes


class Report(ABC):
    """A way to show a comparison.

    Attributes:
        name: what a user asks for it by.
        description: one line for the list of plug-ins.
    """

    name: ClassVar[str]
    description: ClassVar[str]

    @abstractmethod
    def write(self, comparison: Comparison, run: Run, folder: Path, out: TextIO) -> list[Path]:
        """Show a comparison.

        Args:
            comparison: the results.
            run: where the numbers come from. ``run.about()`` holds ``spec`` (with ``limit``), ``versions``,
                ``hardware``, ``failures``, ``bench`` (time and memory, see ``Run.bench``) and ``notes`` (sentences a reader
                must see); ``run.samples()`` every answer, ``run.measured`` the numbers among them in a tenth of the memory,
                ``run.questions()`` the images.
            folder: where files go; it exists.
            out: where text for the terminal goes.

        Returns:
            The files written.
        """


def csv_text(table: "pd.DataFrame") -> str:
    """A table as CSV, a line a row. Text that a spreadsheet would take for a formula stands behind an apostrophe; numbers are
    as they are."""

    def safe(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        text = printable(value) if any(sign < " " for sign in value) else value
        return f"'{text}" if value.startswith(FORMULA) else text

    return str(table.map(safe).rename(columns=safe).to_csv(index=False, lineterminator="\n"))


def write_text(path: Path, text: str) -> Path:
    """Write a file so that a reader sees the old content or the new one, never a part."""
    publish(path, text.encode())
    return path
