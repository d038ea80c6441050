"""Frames of clips in files, decoded with PyAV, which brings FFmpeg along on every system.

The presentation times of all frames are in the file's packets, which are read without decoding. Only what leads to the wanted frames is
decoded: from the key frame before each of them.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from tokenbench.contract.sampling import FrameSampling
from tokenbench.contract.suite import Video
from tokenbench.errors import MachineError, SampleError, brief
from tokenbench_suites.images import MOST_PIXELS, check_regular

__all__ = ["read_clip"]

HELD_BYTES = 2**27
"""How much of a clip without usable times is held while its frames are counted. A longer one is decoded a second time."""
MOST_THREADS = 8
HIDDEN_FRAMES = ("vp8",)
"""Codecs with packets that show nothing, so that packets are not frames."""
NO_TIMES = ("avi",)
"""Containers that number packets in the order in which they are decoded, which is not that in which frames are shown."""


class _Timeline(NamedTuple):
    """What the packets say of a clip."""

    times: Sequence[int]
    """The presentation times of all frames, ascending, in units of the stream; empty if they cannot be relied on."""
    keys: Sequence[int]
    """Those of the key frames, ascending."""
    unit: float
    """The unit of the stream, in seconds."""


def read_clip(path: Path, sampling: FrameSampling) -> Video:
    """Read the chosen frames of the clip in a file.

    Args:
        path: The file.
        sampling: Which frames.

    Raises:
        SampleError: If the file is not a clip or damaged, or does not say how long it is although that is needed.
        MachineError: If the file does not exist, or PyAV is not installed.
    """
    check_regular(path)
    try:
        line, rate = _read_times(path)
        seconds = _length(line.times, line.unit, rate)
        places = sampling.choose(len(line.times), seconds) if line.times else []
        images = _seek(path, [line.times[at] for at in places], line.keys)
        if images is None:
            images, seconds = _decode_all(path, sampling, rate)
    except (SampleError, MachineError) as error:
        raise type(error)(f"the video {path}: {error}", error.hint) from error
    except Exception as error:  # the decoder raises anything for a file it cannot read
        raise SampleError(f"the video {path} cannot be loaded: {brief(error)}", "replace it") from error
    if not seconds:
        return Video(images)
    fps = len(images) / seconds
    return Video(images, fps, start=0.5 / fps)


def _read_times(path: Path) -> tuple[_Timeline, float | None]:
    """Return the times of all frames, without decoding any, and the frames per second that the file states."""
    with _opened(path) as (container, stream):
        rate = float(stream.average_rate) if stream.average_rate else None
        unit = float(stream.time_base or 0)
        packets = [
            (packet.pts, packet.is_keyframe, packet.is_discard) for packet in container.demux(stream) if packet.size
        ]
        times = [time for time, _, _ in packets]
        usable = (
            stream.codec_context.name not in HIDDEN_FRAMES
            and container.format.name not in NO_TIMES
            and None not in times
            and len(set(times)) == len(times)
            and not any(discarded for _, _, discarded in packets)
            and bool(packets)
            and packets[0][1]
            and times[0] == min(times)  # what is shown before the first key frame cannot be decoded
        )
        keys = sorted(time for time, key, _ in packets if key) if usable else []
        return _Timeline(sorted(times) if usable else (), keys, unit), rate


def _seek(path: Path, wanted: Sequence[int], keys: Sequence[int]) -> list[Image.Image] | None:
    """Return the frames at these times, ascending; None if the file does not have one where its packets say."""
    images: list[Image.Image] = []
    with _opened(path) as (container, stream):
        frames, now = container.decode(stream), keys[0] if keys else 0
        for time in wanted:
            start = keys[bisect_right(keys, time) - 1]
            if start > now:
                container.seek(start, stream=stream)
                frames = container.decode(stream)
            frame = next((frame for frame in frames if frame.pts is None or frame.pts >= time), None)
            if frame is None or frame.pts != time:
                return None
            now = time
            images.append(_image(frame))
    return images or None


def _decode_all(path: Path, sampling: FrameSampling, rate: float | None) -> tuple[list[Image.Image], float | None]:
    """Return the chosen frames and the length of a clip of which only decoding tells how many frames it has."""
    count, size = 0, 0
    held, times = list[Any](), list[float]()
    for frame in _decode(path):
        count, size = count + 1, size + sum(plane.buffer_size for plane in frame.planes)
        held.append(frame)
        if size > HELD_BYTES:
            held.clear()
        if frame.time is not None:
            times.append(frame.time)
    if not count:
        raise SampleError("it has no frames", "replace it")
    seconds = _length(times if len(times) == count else [], 1.0, rate, count)
    places = set(sampling.choose(count, seconds))
    frames = held if size <= HELD_BYTES else _decode(path)
    return [_image(frame) for at, frame in enumerate(frames) if at in places], seconds


def _length(times: Sequence[float], unit: float, rate: float | None, count: int = 0) -> float | None:
    """Return the length in seconds: as many mean distances between frames as there are frames; None if it is unknown."""
    count = count or len(times)
    if len(times) > 1 and max(times) > min(times):
        return (max(times) - min(times)) * unit * count / (count - 1)
    return count / rate if rate else None


def _decode(path: Path) -> Iterator[Any]:
    with _opened(path) as (container, stream):
        yield from container.decode(stream)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a file, and its first video stream."""
    try:
        import av
    except ImportError:
        raise MachineError("clips need the package 'av'", "install it: pip install av") from None
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise SampleError("it has no video stream", "replace it")
        stream = container.streams.video[0]
        size = stream.codec_context
        if size is None or not size.width * size.height:  # a drawing, whose decoder crashes
            raise SampleError("it has no size", "replace it")
        if size.width * size.height > MOST_PIXELS:
            raise SampleError(f"it is too large: {size.width} x {size.height} pixels a frame")
        stream.thread_type = "AUTO"
        size.thread_count = min(MOST_THREADS, os.cpu_count() or 1)
        yield container, stream


def _image(frame: Any) -> Image.Image:
    return Image.fromarray(frame.to_ndarray(format="rgb24"))
