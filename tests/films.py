"""Clips that are written here. Every frame says its number, so that a test can read which frames it was shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

BITS = 10
SIDE = 12
"""Pixels along the side of a bit: larger than a block of a codec, so that compression leaves it readable."""
WIDTH, HEIGHT = 128, 96


def write_film(
    path: Path,
    frames: int,
    codec: str = "libx264",
    rate: int = 10,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    **options: str,
) -> Path:
    """Write a clip whose frame k has the bits of k along its upper edge.

    Args:
        path: The file; its ending determines the container.
        frames: The number of frames.
        codec: The encoder, by FFmpeg's name.
        rate: Frames per second.
        size: Width and height in pixels.
        options: Options of the encoder, such as the distance between key frames, `g`.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    ground = (
        np.random.default_rng(7)
        .integers(0, 255, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
        .repeat(8, 0)
        .repeat(8, 1)
    )
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        for k in range(frames):
            pixels = np.roll(ground, 3 * k, axis=1)
            pixels[:SIDE] = 0
            for bit in range(BITS):
                pixels[:SIDE, bit * SIDE : (bit + 1) * SIDE] = 255 * (k >> bit & 1)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode(None))
    return path


def numbers(frames: Sequence[Image.Image]) -> list[int]:
    """Return the numbers that frames say."""
    middle = SIDE // 2
    lit = [[int(np.asarray(f)[middle, bit * SIDE + middle].mean() > 127) for bit in range(BITS)] for f in frames]
    return [sum(value << bit for bit, value in enumerate(own)) for own in lit]
