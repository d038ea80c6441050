"""SparseVLM+: version 2.0 of SparseVLM, which divides attention by what distance alone would give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from tokenbench import Attn, Budget, Keep, Selection, Stage, Strategy, View
from tokenbench_strategies.sparsevlm import SparseVLM, count_published

__all__ = ["SparseVLMPlus"]

_KEPT = {192: (300, 200, 118), 128: (238, 108, 60), 96: (246, 54, 28), 64: (66, 34, 20)}


class SparseVLMPlus(SparseVLM):
    """SparseVLM+ (version 2.0 of the released code of SparseVLM).

    As SparseVLM, with raters at the embeddings and stages after layers 2, 6 and 15 of 32, except: the attention of the
    layer before the stage is divided by a bias, which is the product that queries and keys of ones would have under the
    rotary embedding; the 14 heads count that give the raters most of it; nothing is recycled; positions stay.

    Kept are 300/200/118 tokens at "192", 238/108/60 at "128", 246/54/28 at "96" and 66/34/20 at "64" of 576; a stage
    always drops one token at least. Shares within a token of these are taken for them; other budgets keep the shares of
    192 in proportion. Where positions have several parts (M-RoPE) and attention joins them, the bias is the mean over
    the parts. At long distances the bias of a rotary base of 10,000 turns negative (from 1,707 tokens on), and signs
    flip, as in the released code.
    """

    positions: ClassVar[Literal["original", "compact"]] = "original"
    merges: ClassVar[bool] = False

    heads: int = Field(14, ge=1, description="how many heads count")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """Three stages at the relative depths of layers 3, 7 and 16 of 32."""
        layers, stages, n = self.layers(depth), list[tuple[int, Keep]](), budget.visual
        for layer, kept in zip(layers, count_published(budget, _KEPT)[-len(layers) :], strict=True):
            n = max(1, min(kept, n - 1))
            stages.append((layer, n))
        return stages

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the question's attention at the layer before, and at first for the embeddings."""
        embeddings = (0,) if index == 0 else ()
        asks = (Attn(layer - 1, "question"),)
        return Stage(layer, keep, hidden=embeddings, text=(0,), attention=asks, positions=True)

    def heeds_padding(self, words: int) -> bool:
        """Words that are padding have no weight."""
        return True

    def select(self, view: View) -> Selection:
        """Keep the tokens of highest score, without recycling."""
        return Strategy.select(self, view)

    def score(self, view: View) -> Tensor:
        """[n] attention of the raters over the bias, mean over raters and the heads that count."""
        (request,) = view.stage.attention
        raters = self.raters(view)
        over = view.attention[request] / _bias(view, view.text_positions)
        attention = torch.where(raters.unsqueeze(1), over, 0)
        best = attention.sum((1, 2)).argsort(descending=True, stable=True)[: self.heads]
        return attention.index_select(0, best).sum((0, 1)) / (len(best) * raters.sum())


def _bias(view: View, queries: Tensor) -> Tensor:
    """[q, n] product of ones with ones at the positions of queries [axes, q] and candidates, over sqrt(D)."""
    (cos, sin), (own_cos, own_sin) = view.rotary(queries), view.rotary(view.positions)
    bias: Tensor = (cos @ own_cos.transpose(-1, -2) + sin @ own_sin.transpose(-1, -2)) / cos.shape[-1] ** 0.5
    return bias if bias.ndim == 2 else bias.mean(0)
