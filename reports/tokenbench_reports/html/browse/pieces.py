"""Data for the page's script in pieces of bounded size: in the page where they are little, beside it where they are much.

A page that is opened from a folder may not read other files, but it may run scripts. Each piece beside the page is
therefore a script, which hands its content to the page.
"""

import json
from pathlib import Path
from typing import Any

from tokenbench.store.report_files import make_empty, remove_made, write_text

__all__ = ["FOLDER", "ONE_FILE", "PIECE", "Pieces", "Series"]

FOLDER = "report-samples"
"""The folder of the pieces that lie beside the page."""
ONE_FILE = 4_000_000
"""Characters of data up to which everything is in the page."""
PIECE = 1_000_000
"""Characters of data at which a piece ends. It is longer by one item at most."""


class Pieces:
    """All pieces of a page. They are held back until it is known whether the page has room for them."""

    def __init__(self, folder: Path | None, one_file: int = ONE_FILE) -> None:
        """Begin without any.

        Args:
            folder: The folder of the report; None if everything has to be in the page.
            one_file: Characters of data up to which everything is in the page.
        """
        self._folder, self._one_file = folder, one_file
        self._size = 0
        self._target: Path | None = None
        self.inside: dict[str, str] = {}
        """By name, the pieces that stand in the page, as JSON."""
        self.files: list[Path] = []
        """The files beside the page."""
        self.stamp = ""
        """What tells the pieces of this report from those of others, to be set before the first one."""

    def add(self, name: str, text: str) -> None:
        """Add a piece.

        Args:
            name: Its name, which no other piece has.
            text: Its content as JSON.
        """
        self.inside[name] = text
        self._size += len(text)
        if self._folder is None or self._size <= self._one_file:
            return
        if self._target is None:
            self._target = make_empty(self._folder, FOLDER)
        for each, content in self.inside.items():
            script = f"tokenbenchPiece({json.dumps(self.stamp)},{json.dumps(each)},{content});\n"
            self.files.append(write_text(self._target / f"{each}.js", script))
        self.inside.clear()

    def finish(self) -> str:
        """Remove what an earlier report left beside the page if this one has nothing there. Return the folder's name, or none."""
        if self._target is not None:
            return FOLDER
        if self._folder is not None:
            remove_made(self._folder, FOLDER)
        return ""


class Series:
    """Items of one kind in the order of their numbers, packed into pieces."""

    def __init__(self, pieces: Pieces, name: str) -> None:
        self._pieces, self._name = pieces, name
        self._texts: list[str] = []
        self._size = self._first = 0
        self.starts: list[int] = []
        """The number of the first item of every piece."""

    def add(self, number: int, item: Any) -> None:
        """Add an item with a number that is higher than all before."""
        text = json.dumps(item, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        if not self._texts:
            self._first = number
        self._texts.append(text)
        self._size += len(text)
        if self._size >= PIECE:
            self.flush()

    def flush(self) -> None:
        """End the piece."""
        if self._texts:
            self._pieces.add(f"{self._name}-{len(self.starts)}", f"[{','.join(self._texts)}]")
            self.starts.append(self._first)
            self._texts, self._size = [], 0
