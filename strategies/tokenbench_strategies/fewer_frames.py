"""Fewer frames: a floor that shows the model less of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tokenbench import Budget, Keep, Selection, Stage, Strategy, View
from tokenbench_strategies.frames import clips, thin
from tokenbench_strategies.placement import check_before_decoder

__all__ = ["FewerFrames", "keep_frames"]


class FewerFrames(Strategy):
    """All tokens of as many frames as the budget allows, before the decoder: the floor under methods for clips.

    The clip is divided into as many equal parts, and the frame in the middle of each part stays. Where the encoder sees two frames at
    once (Qwen2-VL, Qwen2.5-VL, Qwen3-VL), a frame is such a pair. Encoders look at every frame by itself, so that the result is that of
    the unpruned model on the shorter clip. Positions are renumbered, as on such a clip; under M-RoPE, a frame keeps its own time.
    Qwen3-VL's prompt still states the times of frames that are gone.

    The realised budget may lie below the nominal one by less than a frame. A budget below one frame keeps tokens at equal steps of the
    frame in the middle; an image is a clip of one frame. Several clips share the budget in proportion to their tokens. The FLOPs of
    encoding are counted for all frames.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage before the decoder, which keeps at most the budget."""
        return [(0, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for nothing but the lattice."""
        return check_before_decoder(self, Stage(layer, keep, lattice=True, at_most=True))

    def select(self, view: View) -> Selection:
        """Keep whole frames at equal steps."""
        return Selection(torch.cat([keep_frames(clip, k) for clip, k in clips(view)]))


def keep_frames(clip: Tensor, k: int) -> Tensor:
    """Return at most k of the tokens [T, P] of a clip, in the order of the sequence: whole frames if k is enough for one."""
    count, places = clip.shape
    shown = min(count, k // places)
    if not shown:
        return thin(clip[count // 2], k)
    steps = torch.arange(shown, device=clip.device)
    return clip[(2 * steps + 1) * count // (2 * shown)].flatten()
