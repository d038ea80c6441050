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
    """A way to show a comparison."""

    name: ClassVar[str]
    """What a user asks for it by."""
    description: ClassVar[str]
    """One line for the list of plug-ins."""

    @abstractmethod
    def write(self, comparison: Comparison, run: Run, folder: Path, out: TextIO) -> list[Path]:
        """Show a comparison.

        Args:
            comparison: The results.
            run: Where the numbers come from. ``run.about()`` holds ``spec`` (with ``limit``), ``versions``,
                ``hardware``, ``failures``, ``bench`` (time and memory, see ``Run.bench``) and ``notes`` (sentences a
                reader must see); ``run.samples()`` every answer, ``run.measured`` the numbers among them in a tenth of
                the memory, ``run.questions()`` the images.
            folder: Where files go; it exists.
            out: Where text for the terminal goes.

        Returns:
            The files written.
        """
