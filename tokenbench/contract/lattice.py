"""Where visual tokens lie: the lattice of an image or a video."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Grid"]


@dataclass(frozen=True)
class Grid:
    """The lattice of one image or video."""

    t: int
    """Frames."""
    h: int
    """Rows of patches in a frame."""
    w: int
    """Patches in a row."""
    num_prefix_tokens: int = 0
    """Visual tokens of a frame that come before its patches ([CLS])."""

    @property
    def tokens(self) -> int:
        """Visual tokens of the item."""
        return self.t * (self.num_prefix_tokens + self.h * self.w)
