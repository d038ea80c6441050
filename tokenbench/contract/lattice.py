"""Where visual tokens lie: the lattice of an image or a video."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Grid"]


@dataclass(frozen=True)
class Grid:
    """The lattice in which the visual tokens of one image or video lie.

    Tokens are in the order of frames, then rows, then columns; each frame begins with its prefix tokens.
    """

    t: int
    """Frames; 1 for an image."""
    h: int
    """Rows of tokens in a frame."""
    w: int
    """Tokens in a row."""
    num_prefix_tokens: int = 0
    """Visual tokens of each frame that stand before its lattice, such as a [CLS]."""
    item: int | None = None
    """The number of the image or video that it belongs to, where several lattices make up one, as the frames of a video
    do on Qwen3-VL; None if it is one by itself."""

    @property
    def tokens(self) -> int:
        """How many visual tokens the image or video has."""
        return self.t * (self.num_prefix_tokens + self.h * self.w)
