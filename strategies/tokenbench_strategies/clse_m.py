"""CLSE-M: CLSE whose dropped tokens live on inside the kept ones."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from tokenbench import Keep, Selection, Stage, View
from tokenbench_strategies.clse import CLSE
from tokenbench_strategies.merge import Matching

__all__ = ["CLSEM"]


class CLSEM(CLSE):
    """CLSE, then the tokens it drops are merged into the kept ones by ToMe's bipartite soft matching: clse+tome.

    At every CLSE stage each dropped token joins its most similar kept token (cosine similarity of the states that enter
    the layer) in a size-weighted mean; sizes are carried to later stages. The KV cache is trimmed as CLSE's LLaVA code
    does. The paper's own CLSE-M, which recycles by density-peak clusters, is `clse-m-paper`.
    """

    merges: ClassVar[bool] = True

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """CLSE's stage, which also reads the hidden states that are merged."""
        own = super().stage(layer, keep, index)
        return replace(own, hidden=tuple(sorted({*own.hidden, layer})))

    def select(self, view: View) -> Selection:
        """Keep what CLSE keeps, with the dropped tokens merged in."""
        return Matching().apply(super().select(view), view)
