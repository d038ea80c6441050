"""Downsample: a floor that shows the model a smaller picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch

from tokenbench import Budget, Grid, Keep, Selection, Stage, Strategy, View
from tokenbench_strategies.placement import check_before_decoder
from tokenbench_strategies.pooling import cut_tiles
from tokenbench_strategies.shares import share_out

__all__ = ["Downsample", "fit_lattice"]


class Downsample(Strategy):
    """The picture shrunk to the budget before the vision encoder: the floor under methods that look at all of it.

    Every frame is resized (bicubic, antialiased) to h x w tokens, the largest lattice within its share of the budget
    whose shape differs from the frame's by less than a factor of 1.5, so that the realised budget may lie a little
    below the nominal one. Frames share the budget in proportion to their tokens; one whose share is no patch is not
    shown. Encoders with learned positions (CLIP, InternViT) interpolate them, as their stock code does. Positions are
    renumbered, as for a small picture; under M-RoPE a token has the place its piece of the picture had. Qwen3-VL's
    deepstack states stay those of that place.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"
    merges: ClassVar[bool] = True
    batching: ClassVar[Literal["vmap", "stacked", "loop"]] = "stacked"

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage before the decoder, which keeps at most the budget."""
        return [(0, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the pictures themselves."""
        return check_before_decoder(self, Stage(layer, keep, pixels=True, lattice=True, at_most=True))

    def select(self, view: View) -> Selection:
        """Keep the tokens of smaller pictures, each at the place of the piece of the image that it covers."""
        device, sizes = view.alive.device, [frame.tokens for frame in view.frames]
        counts = share_out(view.k, sizes, sizes)
        keep, values = [], []
        for frame, (grid, at), count in zip(view.frames, view.lattices(), counts, strict=True):
            if count > grid.num_prefix_tokens:
                h, w = fit_lattice(grid, count - grid.num_prefix_tokens)
                _, middle = cut_tiles(grid, h * w, device, h)
                keep.append(
                    at.start
                    + torch.cat([torch.arange(grid.num_prefix_tokens, device=device), grid.num_prefix_tokens + middle])
                )
                values.append(frame.encode_resized(h, w))
        if not keep:  # every share is a [CLS] at best: one piece of the first frame
            frame, (grid, at) = view.frames[0], next(view.lattices())
            _, middle = cut_tiles(grid, 1, device)
            keep, values = (
                [at.start + grid.num_prefix_tokens + middle],
                [frame.encode_resized(1, 1)[..., grid.num_prefix_tokens :, :]],
            )
        kept = torch.cat(keep)
        return Selection(kept.expand(*view.alive.shape[:-1], -1), torch.cat(values, -2).float())


def fit_lattice(grid: Grid, count: int) -> tuple[int, int]:
    """The largest lattice (h, w) of at most `count` tokens; among equally large ones, the least stretched.

    Lattices stretched by 1.5 or more are taken only if there is no other.
    """

    def quality(shape: tuple[int, int]) -> tuple[bool, int, float]:
        short, long = sorted((shape[0] * grid.w, shape[1] * grid.h))
        return 2 * long < 3 * short, shape[0] * shape[1], -long / short

    return max(((h, w) for h in range(1, grid.h + 1) for w in range(1, grid.w + 1) if h * w <= count), key=quality)
