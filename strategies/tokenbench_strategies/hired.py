"""HiRED: a budget for every crop, and the encoder's attention within it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from tokenbench import Budget, Keep, Selection, Signal, Stage, Strategy, View
from tokenbench.contract.strategy import top
from tokenbench_strategies.shares import crops, share_out

__all__ = ["HiRED"]

_EARLY, _LATE = Signal("cls", 0), Signal("cls", -2)


class HiRED(Strategy):
    """HiRED (Arif et al., AAAI 2025, arXiv 2408.10945), before the decoder.

    Score: [CLS] attention of a late encoder layer (the last but one), heads together. With several crops (tiles,
    images, frames) the budget is first shared out by the [CLS] attention mass that each crop's patches have in the
    first layer. Positions are renumbered.

    In the paper and its code the full image has half of the budget, and the parts share the other half by how many
    tokens of the full image's early top half fall to them; consecutive stretches of its raster stand for the parts, and
    fractions are dropped. full=first or full=last does this, if the full image is the first crop (as in LLaVA-NeXT) or
    the last one (as in InternVL); what fractions leave over is then given to the full image. Without it, every crop's
    own mass counts, since crops may also be images of their own.
    Encoders without [CLS] (Qwen-VL): the mean attention a token receives.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"

    full: Literal["first", "last"] | None = Field(None, description="which of several crops is the full image")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage before the decoder, which keeps the budget."""
        return [(0, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the [CLS] attention of an early and of a late encoder layer."""
        return Stage(layer, keep, signals=(_EARLY, _LATE))

    def select(self, view: View) -> Selection:
        """Keep the top tokens of every tile by late attention; the tiles share the budget by early attention."""
        early, late = view.signals[_EARLY], view.signals[_LATE]
        shared = crops(view, early)
        if self.full and len(shared) > 1:
            shared = self._share_by_full_image(view.k, early, [crop for crop, _ in shared])
        return Selection(torch.cat([crop[top(late[crop], k)] for crop, k in shared]))

    def _share_by_full_image(self, k: int, early: Tensor, own: list[Tensor]) -> list[tuple[Tensor, int]]:
        """The crops, each with its budget: half for the full image, the rest by where its early attention lies."""
        at = 0 if self.full == "first" else len(own) - 1
        full, limits = own[at], [len(crop) for crop in own]
        best = early[full].argsort(descending=True, stable=True)[: len(full) // 2]
        votes = (best * (len(own) - 1) // len(full)).bincount(minlength=len(own) - 1).tolist()
        counts: list[int] = []
        for total in range(k, k + len(own) + 1):  # fractions are dropped: a total of 288 may be 287 tokens
            half = min(len(full), total // 2)
            counts = [(total - half) * vote // max(1, len(best)) for vote in votes]
            if half + sum(counts) >= k:
                break
        counts.insert(at, k - sum(counts))
        if any(not 0 <= count <= limit for count, limit in zip(counts, limits, strict=True)):
            counts = share_out(k, [max(0, count) for count in counts], limits)
        return list(zip(own, counts, strict=True))
