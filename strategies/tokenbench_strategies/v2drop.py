"""V2Drop: visual tokens that a layer hardly changes go."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from scipy.optimize import brentq
from torch import Tensor

from tokenbench import Budget, Keep, Stage, Strategy, View

__all__ = ["V2Drop"]

# Shares of what is left, at the first two stages; one token is left after the third.
_PUBLISHED = {192: (0.5, 0.3), 128: (0.28, 0.25), 64: (0.05, 0.05)}
_OF = 576


class V2Drop(Strategy):
    """V2Drop (CVPR 2026): variation-aware dropping, in three stages.

    Score: the Euclidean distance between a token's states that enter the layer before the stage and those that leave
    it. Neither attention nor the question plays a part. Positions and the caches of earlier layers stay.

    Stages before layers 3, 17 and 22 of 32 (3, 16 and 22 of 28). The paper keeps shares of what is left: .5 and .3 at
    "192", .28 and .25 at "128", .05 and .05 at "64" of 576, and nothing at the third stage, where the released code
    keeps one token, as here; this is a mean of 193.8, 131.0 and 66.7. Shares within a token of these are taken for
    them; other budgets solve one share for both stages so that the mean is the budget (our choice). The released code
    has .5 and .5, which is none of the paper's.
    """

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """Three stages that keep shares of what is left, rounded down, and one token after the last."""
        layers = (3, 16, 22) if depth == 28 else tuple(round(part * depth / 32) for part in (3, 17, 22))
        at = sorted({min(max(layer, 1), depth - 1) for layer in layers})
        shares = [*_shares(budget, depth, at), 0.0][-len(at) :]
        stages, left = list[tuple[int, Keep]](), budget.visual
        for layer, share in zip(at, shares, strict=True):
            left = max(1, int(left * share))
            stages.append((layer, left))
        return stages

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the hidden states on both sides of the layer before."""
        return Stage(layer, keep, hidden=(layer - 1, layer))

    def score(self, view: View) -> Tensor:
        """[n] how far the layer before moved each token."""
        before, after = (view.hidden[depth].float() for depth in view.stage.hidden)
        moved: Tensor = (after - before).norm(dim=-1)
        return moved


def _shares(budget: Budget, depth: int, at: Sequence[int]) -> tuple[float, float]:
    """The shares of what is left at the first two stages."""
    nominal = budget.fraction * _OF if budget.tokens is None else budget.tokens
    for tokens, shares in _PUBLISHED.items():
        if abs(tokens - nominal) < 1:
            return shares
    lengths, total = [end - start for start, end in pairwise([0, *at])], budget.fraction * depth

    def excess(share: float) -> float:
        return sum(length * share**j for j, length in enumerate(lengths)) - total

    share = float(brentq(excess, 0.0, 1.0)) if excess(0.0) < 0 < excess(1.0) else float(excess(1.0) <= 0)
    return share, share
