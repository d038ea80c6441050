"""The contract of a report format: it is handed a finished comparison and shows it; it tests nothing itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, TextIO

if TYPE_CHECKING:
    from pathlib import Path

    from tokenbench.comparison import Comparison
    from tokenbench.store.run import Run

__all__ = ["Report"]


class Report(ABC):
    """A format in which a finished comparison is shown."""

    name: ClassVar[str]
    """The name by which a user asks for it."""
    description: ClassVar[str]
    """What it shows, in one line, for the list of plug-ins."""

    @abstractmethod
    def write(self, comparison: Comparison, run: Run, folder: Path, out: TextIO) -> list[Path]:
        """Show a comparison.

        Args:
            comparison: The results: summary, pairs and verdicts.
            run: The run that the numbers come from. `run.about()` holds `spec` (with `limit`), `versions`, `hardware`,
                `failures`, `bench` (time and memory, see `Run.bench`) and `notes`, which are sentences that a reader
                must see. `run.samples()` holds every answer, `run.measured` the numbers among them in a tenth of the
                memory, and `run.questions()` the images.
            folder: Where files are written. It exists.
            out: Where text for the terminal is written.

        Returns:
            The files that were written.
        """
