"""PyramidDrop: fewer tokens the deeper the layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from scipy.optimize import brentq
from torch import Tensor

from tokenbench import Budget, Keep, OwnLayerAttn, Stage, Strategy, View

__all__ = ["PDrop"]


class PDrop(Strategy):
    """PyramidDrop (Xing et al., CVPR 2025, arXiv 2410.17247): the same ratio of tokens stays at each of three stages.

    Score: attention of the last prompt token in the stage's own layer, asked before the layer runs, mean over heads.
    Positions are renumbered after every stage; the caches of earlier layers stay as they are.

    The paper's stages lie at 1/4, 1/2 and 3/4 of the layers and keep 1/2, 1/4 and 1/8 of the tokens, a mean of 47 %
    over all layers; how it reaches other budgets is not stated. Here the budget is that mean: one ratio is solved for
    it. Layers before the first stage keep everything, so that a mean below 27 % needs an earlier one: the first stage
    then moves to 1/16 of the layers (our choice). A mean below 1/16 cannot be reached: one token is left from there on.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """Three stages that keep a geometric sequence of shares, whose mean over the layers is the budget."""
        first = 1 / 4 if budget.fraction >= 0.27 else 1 / 16
        layers = [round(part * depth) for part in (first, 1 / 2, 3 / 4)]
        ratio = _ratio([b - a for a, b in zip([0, *layers], [*layers, depth], strict=True)], budget.fraction * depth)
        return [(layer, ratio ** (j + 1)) for j, layer in enumerate(layers)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the last token's attention in the layer that the stage stands before."""
        return Stage(layer, keep, attention=(OwnLayerAttn(layer),))

    def score(self, view: View) -> Tensor:
        """[n] attention of the last token, mean over heads."""
        (request,) = view.stage.attention
        return view.attention[request][:, 0].mean(0)


def _ratio(lengths: Sequence[int], total: float) -> float:
    """The ratio r such that the sum of lengths[j] * r^j is the total, as nearly as r in (0, 1) allows."""

    def excess(ratio: float) -> float:
        return sum(length * ratio**j for j, length in enumerate(lengths)) - total

    if excess(0.0) >= 0:
        return 0.0
    return float(brentq(excess, 0.0, 1.0)) if excess(1.0) > 0 else 1.0
