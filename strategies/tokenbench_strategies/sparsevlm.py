"""SparseVLM: the words of the question that look at the image decide, and what they drop is recycled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tokenbench import Attn, Budget, Keep, Selection, Stage, Strategy, View
from tokenbench_strategies.density import Recycled, count_clusters, keep_and_recycle

__all__ = ["SparseVLM", "count_published", "find_raters"]

_KEPT = {192: (300, 200, 110), 128: (303, 110, 36), 96: (238, 48, 26), 64: (66, 30, 17)}
_OF = 576


class SparseVLM(Strategy):
    """SparseVLM (Zhang et al., ICML 2025, arXiv 2410.04417), version 1.0 of its code.

    Raters: words after the image whose share of the image's attention is above average, at the embeddings: the mean
    over visual tokens of softmax over words of <word, token>. Score: attention of the raters at the layer before the
    stage, mean over raters and heads. Recycling: of the d tokens dropped the best m = int(0.3 d) + 1 become
    int(m / 10) + 1 density-peak cluster means.

    Stages after layers 2, 6 and 15 of 32 (at the same relative depths elsewhere), keeping 300/200/110 tokens at "192",
    303/110/36 at "128", 238/48/26 at "96", 66/30/17 at "64" of 576, and the clusters on top, as released: a mean of 206.5 at "192". Shares
    within a token of these (1/3, 0.334) are taken for them; other budgets keep the shares of 192 in proportion, which
    costs more than the published schedules of 128 and 64. Positions are renumbered; the caches of earlier layers stay.
    The paper chooses how many tokens go by the rank of the attention matrix, which is left out here. A cluster stands
    where its centre stood; in the reference clusters follow the kept tokens. Where densities tie, the reference draws the
    order at random, and the first token counts as denser here. Version 2.0 of the code is `sparsevlm-plus`.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"
    merges: ClassVar[bool] = True

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """Three stages at the relative depths of layers 3, 7 and 16 of 32; each keeps tokens and cluster means."""
        layers = self.layers(depth)
        n, stages = budget.visual, list[tuple[int, Keep]]()
        for layer, kept in zip(layers, count_published(budget, _KEPT)[-len(layers) :], strict=True):
            total = Recycled(kept, count_clusters(n - kept)) if kept < n else n
            stages.append((layer, total))
            n = total
        return stages

    @staticmethod
    def layers(depth: int) -> list[int]:
        """The layers after 2, 6 and 15 of 32, at their relative depths."""
        return sorted({min(max(round((after + 1) * depth / 32), 1), depth - 1) for after in (2, 6, 15)})

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the question's attention at the layer before, and for the states that are clustered."""
        asks = (Attn(layer - 1, "question"),)
        return Stage(layer, keep, hidden=tuple(sorted({0, layer})), text=(0,), attention=asks)

    def heeds_padding(self, words: int) -> bool:
        """Words that are padding have no weight."""
        return True

    def select(self, view: View) -> Selection:
        """Keep the top tokens, and cluster means of the best of the rest."""
        return keep_and_recycle(view.hidden[view.stage.layer], self.score(view), view.k, view.stage.keep)

    def score(self, view: View) -> Tensor:
        """[n] attention of the raters, mean over raters and heads."""
        (request,) = view.stage.attention
        weights = self.raters(view).float()
        return weights @ view.attention[request].mean(0) / weights.sum()

    def raters(self, view: View) -> Tensor:
        """[m] which words score, found in the first stage."""
        if "raters" not in view.memo:
            view.memo["raters"] = find_raters(view)
        raters: Tensor = view.memo["raters"]
        (request,) = view.stage.attention
        return raters[len(raters) - view.attention[request].shape[1] :]  # the first stage may have had more padding


def find_raters(view: View) -> Tensor:
    """[m] which words attract more than the mean share of the visual tokens; all, if none does."""
    products = view.hidden[0].float() @ view.text[0].float().T
    if view.words is not None:
        products = products.masked_fill(~view.words, -torch.inf)
    share = products.softmax(1).mean(0)
    attracts = share > view.mean_over_text(share, 0)
    raters = attracts | ~attracts.any()
    return raters if view.words is None else raters & view.words


def count_published(budget: Budget, table: Mapping[int, Sequence[int]]) -> Sequence[int]:
    """Tokens kept at the three stages, without the clusters.

    Args:
        budget: The budget.
        table: {tokens of 576: what is kept at the three stages}.
    """
    if budget.share is None:
        nominal, scale = Fraction(budget.keep), Fraction(1)
    else:
        nominal, scale = budget.share * _OF, Fraction(budget.visual, _OF)
    published = [kept for tokens, kept in table.items() if abs(tokens - nominal) < 1]
    keeps = published[0] if published else [kept * nominal / 192 for kept in table[192]]
    return [max(1, min(budget.visual, int(keep * scale))) for keep in keeps]
