"""Last-token attention on CLSE's schedule: what CLSE is without its spectral term."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from tokenbench import Attn, Budget, Keep, Stage, Strategy, View
from tokenbench_strategies.clse import three_stages, trims_cache

__all__ = ["Attention"]


class Attention(Strategy):
    """The ablation inside CLSE's released code: CLSE's three stages, scored by attention alone.

    Score: attention of the last prompt token at the layer before the stage, mean over heads, float32.
    """

    layers: tuple[int, ...] = Field((), description="prune before these decoder layers; default 1/11/21 of 32")
    kv: Literal["trim", "keep"] | None = Field(
        None, description="dropped tokens in the KV cache of earlier layers; default trim, keep if 28 or 36 layers"
    )

    def trims(self, depth: int) -> bool:
        """Whether dropped tokens also leave the KV cache of earlier layers, as the parameter `kv` says."""
        return trims_cache(self.kv, depth)

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """CLSE's stages, or those before `layers`."""
        return three_stages(depth, budget, self.layers)

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the last token's attention at the layer before the stage."""
        return Stage(layer, keep, attention=(Attn(layer - 1),))

    def score(self, view: View) -> Tensor:
        """[n] attention of the last token, mean over heads."""
        (request,) = view.stage.attention
        return view.attention[request][:, 0].mean(0)
