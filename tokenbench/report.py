"""The contract of a report format: it is handed a finished comparison and shows it; it computes no statistics."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, TextIO

from tokenbench.comparison import Comparison
from tokenbench.files import publish


class Report(ABC):
    """A way to show a comparison.

    Attributes:
        name: what a user asks for it by.
        description: one line for the list of plug-ins.
    """

    name: ClassVar[str]
    description: ClassVar[str]

    @abstractmethod
    def write(self, comparison: Comparison, run: Mapping[str, object], folder: Path, out: TextIO) -> list[Path]:
        """Show a comparison.

        Args:
            comparison: the results.
            run: the run's manifest: ``spec`` (with ``limit``), ``versions``, ``hardware``, and ``notes`` (sentences
                a reader must see) where there are any.
            folder: where files go; it exists.
            out: where text for the terminal goes.

        Returns:
            The files written.
        """


def write_text(path: Path, text: str) -> Path:
    """Write a file so that a reader sees the old content or the new one, never a part."""
    publish(path, text.encode())
    return path
