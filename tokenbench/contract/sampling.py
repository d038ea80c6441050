"""Which frames of a clip a model sees."""

from __future__ import annotations

from dataclasses import dataclass

from tokenbench.errors import SampleError, UsageError

__all__ = ["DEFAULT_SAMPLING", "FRAMES", "MOST_FPS", "MOST_FRAMES", "FrameSampling"]

FRAMES = 8
"""The number of frames where nobody asks for another: Video-LLaVA was trained with so many."""
MOST_FRAMES = 768
"""The largest number of frames of a clip. Qwen2.5-VL's own processor takes no more."""

MOST_FPS = 1000
"""The largest number of frames per second that can be asked for."""


@dataclass(frozen=True)
class FrameSampling:
    """A number of frames of every clip, or a number of frames per second.

    A clip is divided into as many equal parts, and the frame in the middle of each part is shown. No frame is shown twice: a clip with
    fewer frames is shown as it is.
    """

    frames: int | None = FRAMES
    """The number of frames; None if `fps` determines it."""
    fps: float | None = None
    """Frames per second, of which at most `MOST_FRAMES` are shown."""

    @classmethod
    def of(cls, frames: int | None, fps: float | None) -> FrameSampling:
        """Return the sampling that a user asks for, of whom nothing is known if both are None.

        Raises:
            UsageError: Both are given, or a number is too small or too large.
        """
        if frames is not None and fps is not None:
            raise UsageError("frames and fps contradict each other", "give one of them")
        if fps is not None and not 0 < fps <= MOST_FPS:
            raise UsageError(f"fps must be above 0 and at most {MOST_FPS:,}, not {fps!r:.30}")
        if frames is not None and not 1 <= frames <= MOST_FRAMES:
            raise UsageError(f"frames must be from 1 to {MOST_FRAMES}, not {frames!r:.30}")
        return cls(None if fps is not None else frames or FRAMES, fps)

    def __str__(self) -> str:
        """Describe the setting as sentences and identities do."""
        if self.fps is not None:
            return f"{self.fps:g} frames per second, at most {MOST_FRAMES}"
        return f"{self.frames} frame{'' if self.frames == 1 else 's'}"

    def choose(self, count: int, seconds: float | None) -> list[int]:
        """Return the indices of the frames that are shown.

        Args:
            count: The number of frames of the clip, at least 1.
            seconds: The length of the clip; None if it is unknown.

        Raises:
            SampleError: If `fps` is set and the length is unknown.
        """
        if self.fps is None:
            wanted = self.frames or FRAMES
        elif seconds is None:
            raise SampleError("the clip does not say how long it is, so that --fps cannot be used", "use --frames")
        else:
            wanted = max(1, round(min(seconds * self.fps, MOST_FRAMES)))
        shown = min(wanted, count, MOST_FRAMES)
        return [(2 * k + 1) * count // (2 * shown) for k in range(shown)]


DEFAULT_SAMPLING = FrameSampling()
"""What models see of clips where nobody asks for anything else."""
