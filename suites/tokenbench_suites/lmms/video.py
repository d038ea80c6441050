"""Clips from files: a fixed number of frames at equal steps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from tokenbench.errors import MachineError
from tokenbench.suite import Video

__all__ = ["clip", "file_hash", "located"]

FRAMES = 8  # as Video-LLaVA was trained
ENDINGS = ("", ".mp4", ".avi", ".webm", ".mkv", ".gif")


def located(source: Any, folder: Path | None) -> Path:
    """The file of a clip or image: as a task names it, or by that name in the folder of the data or its `videos`.

    source: a path, a name with or without ending, or a description with a `path` or `url`. Raises MachineError if there is none.
    """
    found = source.get("path") or source.get("url") if isinstance(source, Mapping) else source
    name = str(found)
    places = [Path(name)] if folder is None else [Path(name), folder / name, folder / "videos" / name]
    places += [] if folder is None else [folder / "videos" / f"v_{name}"]  # ActivityNet's own names
    for place in places:
        for ending in ENDINGS:
            path = place.with_name(place.name + ending)
            if path.is_file():
                return path
    raise MachineError(
        f"the file '{name}' of the data{f' in {folder}' if folder else ''} is not there", "put it into videos/"
    )


def clip(path: Path) -> Video:
    """The clip in a file. Raises MachineError if it cannot be read."""
    try:
        import av

        with av.open(str(path)) as container:
            frames = [Image.fromarray(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
            rate = float(container.streams.video[0].average_rate or 1)
        chosen = [frames[int((k + 0.5) * len(frames) / FRAMES)] for k in range(FRAMES)]
    except Exception as error:  # the decoder raises anything for a file it cannot read
        raise MachineError(f"the video {path} cannot be read: {type(error).__name__}: {error}") from error
    return Video(chosen, fps=FRAMES * rate / len(frames))


def file_hash(source: Any, folder: Path | None) -> str:
    """Tells clips apart by name and size, since to hash whole clips would take longer than a run; images by their pixels."""
    if isinstance(source, Image.Image):
        return hashlib.sha256(source.tobytes()).hexdigest()[:20]
    path = located(source, folder)
    return hashlib.sha256(f"{path.name}:{path.stat().st_size}".encode()).hexdigest()[:20]
