"""Clips from files: a fixed number of frames at equal steps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from tokenbench.contract.suite import Video
from tokenbench.errors import MachineError, SampleError, brief
from tokenbench_suites.images import MOST_PIXELS, check_regular

__all__ = ["hash_file", "locate_file", "read_clip"]

FRAMES = 8  # as Video-LLaVA was trained
ENDINGS = ("", ".mp4", ".avi", ".webm", ".mkv", ".gif")


def locate_file(source: Any, folder: Path | None) -> Path:
    """Find the file of a clip or image.

    It is at the path that the task names, or has that name in the data folder or its `videos`.

    Args:
        source: A path, a name with or without ending, or a mapping with a `path` or `url`.
        folder: The user's folder with the data; None if there is none.

    Raises:
        MachineError: If the file does not exist.
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
        f"the video file '{name}'{f' of the data in {folder}' if folder else ''} is missing", "put it into videos/"
    )


def read_clip(path: Path) -> Video:
    """Read the clip in a file.

    Raises:
        SampleError: If the file is not a clip or damaged.
        MachineError: If the file does not exist.
    """
    check_regular(path)
    try:
        count, rate = _measure(path)
        places = [int((k + 0.5) * count / FRAMES) for k in range(FRAMES)]
        shown = {at: frame for at, frame in enumerate(_decode(path)) if at in places}
        images = {at: Image.fromarray(frame.to_ndarray(format="rgb24")) for at, frame in shown.items()}
    except SampleError:
        raise
    except Exception as error:  # the decoder raises anything for a file it cannot read
        raise SampleError(f"the video {path} cannot be loaded: {brief(error)}", "replace it") from error
    return Video([images[at] for at in places], fps=FRAMES * rate / count)


def _measure(path: Path) -> tuple[int, float]:
    """How many frames a clip has, and how many of them a second.

    The frames are decoded one by one, since a long clip would fill the memory.
    """
    import av

    count = sum(1 for _ in _decode(path))
    if not count:
        raise SampleError(f"the video {path} has no frames", "replace it")
    with av.open(str(path)) as container:
        rate = float(container.streams.video[0].average_rate or 1)
    return count, rate


def _decode(path: Path) -> Iterator[Any]:
    import av

    with av.open(str(path)) as container:
        if not container.streams.video:
            raise SampleError(f"the video {path} has no video stream", "replace it")
        size = container.streams.video[0].codec_context
        if size is None or not size.width * size.height:  # a drawing, whose decoder crashes
            raise SampleError(f"the video {path} has no size", "replace it")
        if size.width * size.height > MOST_PIXELS:
            raise SampleError(f"the video {path} is too large: {size.width} x {size.height} pixels a frame")
        yield from container.decode(video=0)


def hash_file(source: Any, folder: Path | None) -> str:
    """Tells clips apart by name and size, since to hash whole clips would take longer than a run.

    Images are told apart by their pixels.
    """
    if isinstance(source, Image.Image):
        return hashlib.sha256(source.tobytes()).hexdigest()[:20]
    path = locate_file(source, folder)
    return hashlib.sha256(f"{path.name}:{path.stat().st_size}".encode()).hexdigest()[:20]
