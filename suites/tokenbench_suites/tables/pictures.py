"""The pictures and clips of a table: files, bytes in a cell, or a place in a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from PIL import Image

from tokenbench.contract.sampling import FrameSampling
from tokenbench.contract.suite import Video
from tokenbench.errors import SampleError
from tokenbench_suites.clip_files import read_clip
from tokenbench_suites.images import check_regular, open_image

__all__ = ["Medium", "Stored", "find_file", "hash_medium", "is_clip", "load"]

CLIPS = (".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv")


class Stored(NamedTuple):
    """A picture in a data set, which is read when it is wanted, since all of them may not fit into memory."""

    rows: Any
    """A `datasets.Dataset` with undecoded pictures."""
    row: int
    """The number of the row."""
    column: str
    """The name of the column."""
    place: int
    """The place in the cell, which may hold a list."""

    def read(self) -> bytes:
        """Return the bytes of the file."""
        cell = self.rows[self.row][self.column]
        item: Mapping[str, Any] = cell[self.place] if isinstance(cell, list) else cell
        return bytes(item["bytes"])


Medium = Path | bytes | Stored


def find_file(folder: Path, name: str) -> Path | tuple[str, str]:
    """Return the file that a table names, or what is wrong with the name, and how to mend it.

    Args:
        folder: The folder of the table.
        name: The name, relative to the folder or to `images` or `videos` in it, or absolute.
    """
    for written in (name, name.replace("\\", "/")):  # as Windows writes it
        for place in (folder / written, folder / "images" / written, folder / "videos" / written):
            if place.is_file():
                return place
    if "://" in name:
        return f"names the address '{name}', not a file", "download it, and write the name of the file there"
    place = folder / name
    if place.is_dir():
        return f"names the folder '{name}', not a file", "write the name of a file there"
    alike = (
        [file.name for file in place.parent.iterdir() if file.name.lower() == place.name.lower()]
        if place.parent.is_dir()
        else []
    )
    mend = f"it is called {alike[0]} there" if alike else f"put it into {folder.resolve()}"
    return f"names the file '{name}', which is not in the folder of the table", mend


def hash_medium(item: Medium, known: dict[Path, str]) -> str:
    """Return a hash of a picture or clip as it is stored.

    Args:
        item: The picture or clip.
        known: Hashes of files that were read before; grows.

    Raises:
        MachineError: The file cannot be read.
    """
    if not isinstance(item, Path):
        return _digest(item.read() if isinstance(item, Stored) else item)
    if item not in known:
        known[item] = _digest(check_regular(item).read_bytes())
    return known[item]


def load(media: Sequence[Medium], name: str, sampling: FrameSampling) -> list[Image.Image | Video]:
    """Open pictures and clips.

    Args:
        media: The pictures and clips.
        name: What errors call them.
        sampling: Which frames of clips are shown.

    Raises:
        SampleError: One of them is damaged or too large.
        MachineError: A file is missing.
    """
    return [_open(item, name, sampling) for item in media]


def is_clip(item: Medium) -> TypeGuard[Path]:
    """Return whether it is a clip, not a picture."""
    return isinstance(item, Path) and item.suffix.lower() in CLIPS


def _open(item: Medium, name: str, sampling: FrameSampling) -> Image.Image | Video:
    if is_clip(item):
        return read_clip(item, sampling)
    if isinstance(item, Path) and not item.stat().st_size:
        raise SampleError(f"{name}: {item} is empty", "replace it, or remove the row")
    return open_image(item.read() if isinstance(item, Stored) else item, name)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:20]
