"""VScan: two looks of the encoder choose tokens, and the decoder's last token halves them again midway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tokenbench import Budget, Grid, Keep, OwnLayerAttn, Selection, Signal, Stage, Strategy, View
from tokenbench_strategies.merge import Matching
from tokenbench_strategies.shares import share_out

__all__ = ["VScan", "pick_locally_and_globally"]

_LOCAL, _GLOBAL = Signal("cls", 5 / 23), Signal("cls", -2)
_SIDE = 6


class VScan(Strategy):
    """VScan (TMLR 2026), in two stages whose mean over the layers is the budget b.

    Before the decoder 1.5 b tokens stay: half of them by the [CLS] attention of encoder layer 5 (of 24), the same
    number in each window of 6 x 6 tokens, the others by that of the last but one layer. Every dropped token joins the
    kept one of most similar direction (cosine of projected tokens), and a kept token becomes the plain mean of itself
    and those that joined it. Before the middle layer .5 b tokens stay, by the attention which that layer gives to the
    last prompt token, mean over heads. Positions are renumbered, and the caches of earlier layers stay.

    As released, windows share their half rounded down, so that a few tokens fewer than 1.5 b may stay. The released
    scripts hold 96 and 32 tokens for "64" only; the rule for other budgets follows from it. The last window of a row or
    column takes what does not fill one. Every image, tile or frame is reduced by itself. Encoders without [CLS]
    (Qwen-VL): the mean attention a token receives; the released Qwen code uses windows of 4 x 4 with at most a number
    of tokens each, and queries and keys without positions, which is not followed.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"
    merges: ClassVar[bool] = True

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One and a half times the budget before the decoder, half of it from the middle on."""
        return [(0, budget.scaled("1.5")), (max(1, depth // 2), budget.scaled("0.5"))]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for two encoder layers and the projected tokens first, then for the last token's attention."""
        if index == 0:
            return Stage(layer, keep, hidden=(layer,), signals=(_LOCAL, _GLOBAL), at_most=True)
        return Stage(layer, keep, attention=(OwnLayerAttn(layer),))

    def score(self, view: View) -> Tensor:
        """[n] attention of the last token, mean over heads, in the second stage."""
        (request,) = view.stage.attention
        return view.attention[request][:, 0].mean(0)

    def select(self, view: View) -> Selection:
        """Keep and merge before the decoder; keep the highest scores in the middle."""
        if view.index > 0:
            return super().select(view)
        lattices = list(view.lattices())
        sizes = [at.stop - at.start for _, at in lattices]
        kept = [
            at.start + pick_locally_and_globally(view.signals[_LOCAL][at], view.signals[_GLOBAL][at], grid, k)
            for (grid, at), k in zip(lattices, share_out(view.k, sizes, sizes), strict=True)
        ]
        keep = torch.cat(kept)
        states = view.hidden[view.stage.layer].float()
        return Selection(keep, Matching().merge(states, states.new_ones(view.n), keep)[0])


def pick_locally_and_globally(local: Tensor, overall: Tensor, grid: Grid, k: int) -> Tensor:
    """Indices of at most k tokens of one frame, ascending: half window by window, the rest over the whole frame.

    Args:
        local: [n] what windows are ranked by; a frame's prefix tokens belong to no window.
        overall: [n] what the rest is ranked by.
        grid: The frame's lattice.
        k: How many tokens to keep.
    """
    device, start = local.device, grid.num_prefix_tokens
    rows, columns = (max(1, side // _SIDE) for side in (grid.h, grid.w))
    y, x = (
        (torch.arange(n, device=device) // _SIDE).clamp(max=last - 1) for n, last in ((grid.h, rows), (grid.w, columns))
    )
    window = (y.unsqueeze(1) * columns + x).flatten()
    each = int(0.5 * k) // (rows * columns)
    taken = torch.zeros(len(local), dtype=torch.bool, device=device)
    for number in range(rows * columns if each else 0):
        own = start + (window == number).nonzero().flatten()
        taken[own[local[own].argsort(descending=True, stable=True)[:each]]] = True
    rest = overall.masked_fill(taken, 0).argsort(descending=True, stable=True)
    rest = rest[~taken[rest]][: k - int(0.5 * k) if k > 1 else k]
    taken[rest] = True
    return taken.nonzero().flatten()
