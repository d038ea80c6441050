"""Where visual tokens lie: the lattice of an image or a video."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Grid"]


@dataclass(frozen=True)
class Grid:
    """The lattice of one image or video: `t` frames of `lead` extra tokens ([CLS]) followed by `h` x `w` patches."""

    t: int
    h: int
    w: int
    lead: int = 0

    @property
    def tokens(self) -> int:
        """Visual tokens of the item."""
        return self.t * (self.lead + self.h * self.w)
