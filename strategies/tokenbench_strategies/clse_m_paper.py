"""CLSE-M as its paper has it: the best of what CLSE drops lives on in cluster means."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from tokenbench import Keep, Selection, Stage, View
from tokenbench_strategies.clse import CLSE
from tokenbench_strategies.density import keep_and_recycle

__all__ = ["CLSEMPaper"]


class CLSEMPaper(CLSE):
    """CLSE-M (arXiv 2606.24165, appendix A.4); no code was released.

    One stage before layer 1. By CLSE's joint score the best tokens stay; of the rest the best 30 % (K tokens) become
    floor(K / 10) + 1 density-peak clusters, uniform means. The caches of earlier layers stay.

    The paper lets the rank of the text-to-image attention set how many stay; a comparison at equal budgets needs the
    number given, so that kept tokens and clusters together make the budget here. Its "194" counts layer-equivalent
    tokens. A cluster stands where its centre stood; in the paper clusters follow the kept tokens. More stages
    (layers=1/11/21) keep CLSE's counts, later ones by attention alone.
    """

    merges: ClassVar[bool] = True

    layers: tuple[int, ...] = Field((1,), description="prune before these decoder layers")
    kv: Literal["trim", "keep"] | None = Field("keep", description="dropped tokens in the KV cache of earlier layers")

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """CLSE's stage, which also reads the hidden states that are clustered."""
        own = super().stage(layer, keep, index)
        return replace(own, hidden=tuple(sorted({*own.hidden, layer})))

    def select(self, view: View) -> Selection:
        """Keep the best tokens, and cluster means of the best of the rest."""
        return keep_and_recycle(view.hidden[view.stage.layer], self.score(view), view.k)
