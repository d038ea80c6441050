"""The files of clips: where they are, and how they are told apart."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from tokenbench.errors import MachineError
from tokenbench_suites.images import check_regular

__all__ = ["hash_file", "locate_file", "presented"]

HASHED = 1 << 16
"""How many bytes are hashed at the beginning, in the middle and at the end of a clip."""
ENDINGS = ("", ".mp4", ".avi", ".webm", ".mkv", ".gif")


def locate_file(source: Any, folder: Path | None) -> Path:
    """Find the file of a clip or image.

    It is at the path that the task names, or below the data folder: at that path, or wherever a file has that name. Of several files with
    that name, it is the one in the folder that the task names.

    Args:
        source: A path, a name with or without ending, or a mapping with a `path` or `url`.
        folder: The user's folder with the data; None if there is none.

    Raises:
        MachineError: If the file does not exist, or several could be meant.
    """
    found = source.get("path") or source.get("url") if isinstance(source, Mapping) else source
    name = str(found)
    for place in [Path(name)] if folder is None else [Path(name), folder / name, folder / "videos" / name]:
        for ending in ENDINGS:
            path = place.with_name(place.name + ending)
            if path.is_file():
                return path
    below = _choose(_files_below(folder), Path(name)) if folder else []
    if len(below) > 1:
        raise MachineError(
            f"the data in {folder} has several files that could be the video '{name}': {below[0]} and {below[1]}",
            "keep them in the folders that the task names",
        )
    if below:
        return below[0]
    raise MachineError(
        f"the video file '{Path(name).name}'{f' of the data in {folder}' if folder else ''} is missing",
        "put it into videos/",
    )


@contextmanager
def presented(folder: Path | None) -> Iterator[None]:
    """Let the code of a task find the clips of the user's folder where it looks for them.

    Most tasks look for a clip in a cache and stop if it is not there. Here `os.path.exists` is true for what `locate_file` finds.
    """
    stock, thread = os.path.exists, threading.get_ident()

    def exists(path: Any) -> bool:
        if stock(path) or threading.get_ident() != thread or Path(str(path)).suffix.lower() not in ENDINGS[1:]:
            return stock(path)
        with suppress(MachineError):
            return bool(locate_file(str(path), folder))
        return False

    if folder is not None:
        os.path.exists = exists
    try:
        yield
    finally:
        os.path.exists = stock


def _choose(files: Mapping[str, Sequence[Path]], wanted: Path) -> Sequence[Path]:
    """The files with the wanted name; those in folders with the same names, if there are any."""
    names = (wanted.name, *(wanted.name + ending for ending in ENDINGS[1:]), f"v_{wanted.name}")  # ActivityNet's own
    names = (*names, *(f"v_{wanted.name}{ending}" for ending in ENDINGS[1:]))
    found = next((files[name] for name in names if name in files), [])
    for parent in wanted.parents[:-1] if len(found) > 1 else ():
        nearer = [path for path in found if path.parent.as_posix().endswith("/" + parent.name)]
        if nearer:
            return nearer
    return found


@lru_cache
def _files_below(folder: Path) -> dict[str, list[Path]]:
    """The files in a folder and its subfolders, by name."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in ENDINGS[1:]:
            files.setdefault(path.name, []).append(path)
    return files


def hash_file(source: Any, folder: Path | None) -> str:
    """Tell clips apart by their size and parts of their contents, since to hash whole clips would take longer than a run.

    Images are told apart by their pixels.
    """
    if isinstance(source, Image.Image):
        return hashlib.sha256(source.tobytes()).hexdigest()[:20]
    path = check_regular(locate_file(source, folder))
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for start in (0, size // 2, max(0, size - HASHED)):
            file.seek(start)
            digest.update(file.read(HASHED))
    return digest.hexdigest()[:20]
