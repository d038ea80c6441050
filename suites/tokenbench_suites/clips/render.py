"""Pixels of a clip: frames share the ground, each has noise of its own."""

import numpy as np
import numpy.typing as npt

from tokenbench_suites.clips.world import FRAMES, SIDE, Clip, frame_scene
from tokenbench_suites.scenes import render

__all__ = ["render_clip"]


def render_clip(clip: Clip) -> npt.NDArray[np.uint8]:
    """Frames [FRAMES, SIDE, SIDE, 3]."""
    return np.stack([render(frame_scene(clip, frame), SIDE, frame) for frame in range(FRAMES)])
