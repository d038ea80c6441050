"""FastV: after layer K, keep the visual tokens that the last prompt token attends to most."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor

from tokenbench import Attn, Budget, Keep, Stage, Strategy, View

__all__ = ["FastV", "fastv_layer"]


def fastv_layer(depth: int) -> int:
    """The paper's K = 2 of 32 decoder layers, at the same relative depth elsewhere."""
    return max(1, round(depth / 16))


class FastV(Strategy):
    """FastV (Chen et al., ECCV 2024, arXiv 2403.06764), ranked once, in its cache mode.

    Score: attention of the last prompt token at layer K-1, mean over heads, float32. One stage before layer K; earlier
    layers keep every token, in computation and in the KV cache, so that the mean over layers lies above the budget.

    The paper uses K = 2 of 32. The released mask mode ranks again at every generated token, its cache mode once.
    """

    layer: int | None = Field(None, ge=1, description="K, the decoder layer before which tokens go; default 2 of 32")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage, before `layer` or at its relative depth."""
        return [(self.layer or fastv_layer(depth), budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the last token's attention at the layer before the stage."""
        return Stage(layer, keep, attention=(Attn(layer - 1),))

    def score(self, view: View) -> Tensor:
        """[n] attention of the last token, mean over heads."""
        (request,) = view.stage.attention
        return view.attention[request][:, 0].mean(0)
