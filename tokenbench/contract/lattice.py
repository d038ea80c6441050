"""Where visual tokens lie: the lattice of an image or a video."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Grid"]


@dataclass(frozen=True)
class Grid:
    """The lattice in which the visual tokens of one image, tile or video lie.

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
    row_end_tokens: int = 0
    """Visual tokens at the end of each row that stand for no patch, such as LLaVA-NeXT's newline."""
    num_suffix_tokens: int = 0
    """Visual tokens behind the whole image or video that stand for no patch."""
    inputs: int | None = 1
    """How many inputs of the vision encoder make one frame of it: several where tiles of a picture become one lattice; None
    if the prompt does not show how many."""
    has_places: bool = True
    """Whether the tokens have places on the image at all. Those of a resampler have none."""

    @classmethod
    def without_places(cls, tokens: int) -> Grid:
        """Return what stands for visual tokens whose places on the image are unknown, or do not exist."""
        return cls(1, 1, tokens, has_places=False)

    @property
    def tokens(self) -> int:
        """How many visual tokens the image or video has."""
        frame = self.num_prefix_tokens + self.h * (self.w + self.row_end_tokens)
        return self.t * frame + self.num_suffix_tokens

    @property
    def frames(self) -> list[Grid]:
        """The lattice of every frame, with t = 1. Suffix tokens belong to the last one."""
        one = replace(self, t=1, num_suffix_tokens=0)
        return [one] * (self.t - 1) + [replace(self, t=1)]

    def patches(self) -> list[list[list[int]]]:
        """Return the indices [t][h][w] of the tokens that have a place, among all tokens of the image or video."""
        row = self.w + self.row_end_tokens
        frame = self.num_prefix_tokens + self.h * row
        firsts = [[t * frame + self.num_prefix_tokens + y * row for y in range(self.h)] for t in range(self.t)]
        return [[list(range(first, first + self.w)) for first in rows] for rows in firsts]
