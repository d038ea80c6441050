"""Windows of attention that are packed into one sequence, computed all at once.

Stock encoders that pack their frames call the attention for every window, unless it is flash attention, which takes the
whole sequence. Here the windows become a batch, padded where they are not of one size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["PackedWindows"]


@dataclass(frozen=True)
class PackedWindows:
    """W windows, laid end to end as one sequence of N positions, which attend to their own window."""

    bounds: Tensor
    """[W + 1] int32, where they begin and end; a window may be empty."""
    total: int
    """N."""
    size: int
    """No window has more positions."""

    @classmethod
    def alike(cls, count: int, size: int, device: torch.device) -> PackedWindows:
        """So many windows of one size."""
        bounds = torch.arange(0, count * size + 1, size, dtype=torch.int32, device=device)
        return cls(bounds, count * size, size)

    @classmethod
    def of(cls, bounds: Tensor) -> PackedWindows:
        """Windows with these bounds, at which the host looks."""
        edges = bounds.tolist()
        return cls(bounds, edges[-1], max(end - start for start, end in pairwise(edges)))

    @classmethod
    def left_of(cls, edges: Sequence[int], positions: Tensor) -> PackedWindows:
        """What is left of the windows of like frames, frame by frame.

        Args:
            edges: Where the windows of a frame began and ended.
            positions: [F, p] which positions of each frame are left, ascending.
        """
        frames, count = positions.shape
        begin = torch.tensor(edges[:-1], device=positions.device).expand(frames, -1).contiguous()
        before = torch.arange(0, frames * count, count, device=positions.device).unsqueeze(1)
        first = torch.searchsorted(positions.contiguous(), begin) + before
        size = min(count, max(end - start for start, end in pairwise(edges)))
        return cls(pad(first.flatten().int(), (0, 1), value=frames * count), frames * count, size)

    def split(self, packed: Tensor) -> Tensor:
        """[1, H, N, D] of the sequence -> [W, H, size, D] of the windows; what stands at padding plays no part."""
        one = packed[0] if self._full else packed[0].index_select(1, self._slots.clamp(max=self.total - 1).flatten())
        return one.reshape(len(one), -1, self.size, one.shape[2]).transpose(0, 1)

    def join(self, split: Tensor) -> Tensor:
        """[W, size, ...] of the windows -> [N, ...] of the sequence."""
        flat = split.flatten(0, 1)
        return flat if self._full else flat.index_select(0, self._places)

    def mask(self, like: Tensor, added: bool) -> Tensor | None:
        """[W, 1, 1, size] which keys are no padding, or numbers to be added in the type of `like`; None if all."""
        if self._full:
            return None
        inside = self._slots < self.bounds[1:].unsqueeze(1)
        inside[:, 0] = True  # the softmax of an empty window stays finite
        seen = inside[:, None, None]
        return (
            torch.zeros_like(seen, dtype=like.dtype).masked_fill(~seen, torch.finfo(like.dtype).min) if added else seen
        )

    def join_products(self, products: Tensor, order: Tensor) -> Tensor:
        """Products within the windows of frames -> [F, p, p] within the frames; -inf between windows.

        Args:
            products: [W, size, size].
            order: [F, p] which of the p positions of each frame stands where.
        """
        frames, count = order.shape
        places = self._places.view(frames, count).gather(1, order)
        window, rank = places // self.size, places % self.size
        rows = products.flatten(0, 1).index_select(0, places.flatten()).view(frames, count, -1)
        own = rows.gather(2, rank.unsqueeze(1).expand(-1, count, -1))
        return own.masked_fill(window.unsqueeze(2) != window.unsqueeze(1), -torch.inf)

    @property
    def _full(self) -> bool:
        """Whether all windows have the largest size."""
        return (len(self.bounds) - 1) * self.size == self.total

    @cached_property
    def _slots(self) -> Tensor:
        """[W, size] the positions of every window, which go on into the next one where it is smaller."""
        return self.bounds[:-1].unsqueeze(1) + torch.arange(self.size, device=self.bounds.device)

    @cached_property
    def _places(self) -> Tensor:
        """[N] where every position stands among those of all windows, padded to one size."""
        at = torch.arange(self.total, device=self.bounds.device)
        window = torch.searchsorted(self.bounds[1:].contiguous(), at, right=True)
        return window * self.size + at - self.bounds[:-1].index_select(0, window)
