"""DyCoke: of neighbouring frames, what repeats goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from tokenbench import Budget, Keep, Selection, Stage, Strategy, View
from tokenbench_strategies.frames import clips, thin

__all__ = ["DyCoke", "drop_repeated"]


class DyCoke(Strategy):
    """DyCoke (CVPR 2025), its prefill half, before the decoder.

    Of frames (0, 1), (2, 3), ... the second of each pair keeps the m tokens least like those at the same places of the
    first (cosine of projected tokens). Then frame i + 2 does so against frame i, for i = 0, 4, 8, ... below T - 4.
    Nothing is averaged; "merging" in the paper is dropping in the code. As released, the tokens of a thinned frame
    follow each other by rising similarity; positions are renumbered.

    The released code takes a share to drop, .7 by default; here m is the largest that holds the budget, so that a few
    tokens fewer may stay. The frames that are never thinned are 28 % of 32 frames and 37.5 % of 8: below that the
    method cannot go, and tokens at equal steps of what it leaves stay (our choice). This is also what an image gets,
    which has no neighbours. The released code loses the last frame of an odd number and stops at 4 frames or fewer;
    here the last frame stays, and pairs are thinned. The half that reads less of the cache while it generates is left
    out. Several clips share the budget in proportion to their tokens.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage before the decoder, which keeps at most the budget."""
        return [(0, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the projected tokens."""
        return Stage(layer, keep, hidden=(layer,), lattice=True, at_most=True)

    def select(self, view: View) -> Selection:
        """Keep what does not repeat, with as many tokens of every thinned frame as the budget allows."""
        states = view.hidden[view.stage.layer].float()
        return Selection(torch.cat([at.flatten()[drop_repeated(states[at], k)] for at, k in clips(view)]))


def drop_repeated(clip: Tensor, k: int) -> Tensor:
    """Indices of at most k tokens of a clip [T, P, C], flattened, in the order of the sequence."""
    frames, places = clip.shape[:2]
    against = {i: i - 1 for i in range(1, frames, 2)} | {i + 2: i for i in range(0, frames - 4, 4)}
    whole = frames - len(against)
    each = max(0, min(places, (k - whole * places) // max(1, len(against))))
    order = torch.arange(frames * places, device=clip.device).view(frames, places)
    kept = []
    for i, tokens in enumerate(order):
        if i in against:
            alike = cosine_similarity(clip[i], clip[against[i]], dim=-1)
            tokens = tokens[alike.argsort(stable=True)[:each]] if each < places else tokens
        kept.append(tokens)
    return thin(torch.cat(kept), k)
