"""VScan: two looks of the encoder choose tokens, and the decoder's last token halves them again midway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from tokenbench import Budget, Grid, Keep, OwnLayerAttn, Selection, Signal, Stage, Strategy, View
from tokenbench_strategies.indices import find_marked
from tokenbench_strategies.merge import Matching
from tokenbench_strategies.shares import share_out

__all__ = ["VScan", "pick_locally_and_globally"]

Form = Literal["llava", "qwen"]
_SIDES = {"llava": 6, "qwen": 4}
_SIGNALS = {
    "llava": (Signal("cls", 5 / 23), Signal("cls", -2)),  # layers 5 and 22 of CLIP's 24
    "qwen": (Signal("received", 7 / 31), Signal("received", -1)),  # the first of full attention and the last of 32
}


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
    (Qwen-VL): the mean attention a token receives. form=qwen follows the released code for Qwen2.5-VL: windows of 4 x 4
    take the best half of all tokens, at most an equal number each rounded up, by the attention received in the first
    encoder layer that attends to everything, and the rest goes by the last layer. That code's queries and keys without
    positions in the middle layer are not followed.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"
    merges: ClassVar[bool] = True

    form: Form = Field("llava", description="whose released code the stage before the decoder follows")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One and a half times the budget before the decoder, half of it from the middle on."""
        return [(0, budget.scaled("1.5")), (max(1, depth // 2), budget.scaled("0.5"))]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for two encoder layers and the projected tokens first, then for the last token's attention."""
        if index == 0:
            return Stage(layer, keep, hidden=(layer,), signals=_SIGNALS[self.form], lattice=True, at_most=True)
        return Stage(layer, keep, attention=(OwnLayerAttn(layer),))

    def score(self, view: View) -> Tensor:
        """[n] attention of the last token, mean over heads, in the second stage."""
        (request,) = view.stage.attention
        return view.attention[request][:, 0].mean(0)

    def select(self, view: View) -> Selection:
        """Keep and merge before the decoder; keep the highest scores in the middle."""
        if view.index > 0:
            return super().select(view)
        lattices, (local, overall) = list(view.lattices()), (view.signals[signal] for signal in view.stage.signals)
        sizes = [at.stop - at.start for _, at in lattices]
        kept = [
            at.start + pick_locally_and_globally(local[at], overall[at], grid, k, self.form)
            for (grid, at), k in zip(lattices, share_out(view.k, sizes, sizes), strict=True)
        ]
        keep = torch.cat(kept)
        states = view.hidden[view.stage.layer].float()
        return Selection(keep, Matching().merge(states, states.new_ones(view.n), keep)[0])


def pick_locally_and_globally(local: Tensor, overall: Tensor, grid: Grid, k: int, form: Form = "llava") -> Tensor:
    """Indices of at most k tokens of one frame, ascending: half window by window, the rest over the whole frame.

    Args:
        local: [n] what windows are ranked by; a frame's prefix tokens belong to no window.
        overall: [n] what the rest is ranked by.
        grid: The frame's lattice.
        k: How many tokens to keep.
        form: Whose windows they are.
    """
    half = k // 2
    windows = _count_windows(grid, _SIDES[form])
    each = half // windows if form == "llava" else -(-half // windows)
    window, firsts = _window_places(grid, _SIDES[form], each, local.device)
    ranked = local.argsort(descending=True, stable=True)
    by_window = ranked.gather(0, window.gather(0, ranked).argsort(stable=True))
    best = by_window.index_select(0, firsts)
    nothing = torch.zeros(len(local), dtype=torch.bool, device=local.device)
    fits, first = nothing.scatter(0, best, True), min(half, len(best))
    taken = nothing.scatter(0, ranked.gather(0, find_marked(fits.gather(0, ranked), first)), True)
    rest = overall.masked_fill(taken, 0).argsort(descending=True, stable=True)
    more = min(k - half, len(local) - first)
    taken = taken.scatter(0, rest.gather(0, find_marked(~taken.gather(0, rest), more)), True)
    return find_marked(taken, first + more)


def _count_windows(grid: Grid, side: int) -> int:
    return max(1, grid.h // side) * max(1, grid.w // side)


@lru_cache(maxsize=64)
def _window_places(grid: Grid, side: int, each: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The window of every token, and where the first of each stand once tokens are in the order of their windows.

    The last window of a row or column takes what does not fill one; tokens without a window come last. Made once, since
    a copy from the host waits for a GPU.

    Args:
        grid: The frame's lattice.
        side: Of a window, in tokens.
        each: How many tokens a window has at most in the second of the answers.
        device: Where the tensors are made.
    """
    rows, columns = (max(1, length // side) for length in (grid.h, grid.w))
    own = [
        min(y // side, rows - 1) * columns + min(x // side, columns - 1) for y in range(grid.h) for x in range(grid.w)
    ]
    firsts, start = list[int](), 0
    for _, count in sorted(Counter(own).items()):
        firsts += range(start, start + min(each, count))
        start += count
    window = [rows * columns] * grid.tokens
    window[grid.num_prefix_tokens : grid.num_prefix_tokens + len(own)] = own
    return torch.tensor(window, device=device), torch.tensor(firsts, dtype=torch.long, device=device)
