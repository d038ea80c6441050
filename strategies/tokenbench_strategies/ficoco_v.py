"""FiCoCo-V: redundant patches are merged layer by layer inside the vision encoder."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize, pad

from tokenbench import Budget, Grid, Keep, Selection, Stage, Strategy, View
from tokenbench_strategies.ficoco_released import merge_as_released
from tokenbench_strategies.indices import take
from tokenbench_strategies.placement import check_before_decoder
from tokenbench_strategies.shares import share_out

if TYPE_CHECKING:
    from tokenbench import EncodedFrame

__all__ = ["FiCoCoV"]


class FiCoCoV(Strategy):
    """FiCoCo-V (Han et al., AAAI 2026, arXiv 2411.17686): filter, correlate, compress.

    In every encoder layer from the middle on r tokens are merged into others. Filter: score = .35 c - .65 p, c the
    product of the frame's [CLS] query with a patch's key and p the mean product of the patch's query with all keys,
    both before the softmax, mean over heads, each of length 1 over the patches; in every 2 x 2 window the lowest score
    is doubled if negative, halved if positive; the r lowest go. Correlate: a token that goes is added to those kept
    whose product with it is above the .998 quantile, at least one, with softmax weights; where its attention window
    keeps none, it is dropped. Compress: means weighted by how many tokens each stands for. Positions are renumbered.

    r follows from the budget, equal in all layers; several images or frames share the budget in proportion to their
    tokens. The paper merges 42 in each of 12 layers of CLIP ViT-L (72 tokens), but LLaVA reads the last but one layer,
    which only 11 merges reach (114). The original merges between attention and MLP, here a layer is finished first. A
    frame's [CLS] that is a visual token itself (Video-LLaVA) is never merged. Encoders without [CLS] (Qwen-VL): c is
    the mean product with all patches' queries. The engine runs the upper layers a second time, since other strategies
    share the first run; what the method saves is what it would save alone.

    The released code is another method from the second merging layer on; released=yes follows it, on encoders with a
    [CLS]. Tokens go on by score, with [CLS] last, and the first of them is read as [CLS]; places from before are taken
    for places afterwards, so that tokens are added to others than those chosen; sizes are forgotten after every layer;
    scores of earlier layers choose the windows. The first token is cut off at the end, whatever it is, and the [CLS],
    where it is left, stands in the place of the first patch that is not. That scores of earlier images take part, too,
    is left out, since answers would depend on the order of the questions.
    """

    positions: ClassVar[Literal["original", "compact"]] = "compact"
    merges: ClassVar[bool] = True
    batching: ClassVar[Literal["vmap", "stacked", "loop"]] = "stacked"

    start: float = Field(0.5, ge=0, lt=1, description="share of the encoder's layers before the first merge")
    beta: float = Field(0.35, ge=0, le=1, description="weight of the [CLS] term")
    released: bool = Field(False, description="merge as the released code does, not as the paper says")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """One stage before the decoder, which keeps the budget."""
        return [(0, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask to run the encoder's later layers again."""
        return check_before_decoder(self, Stage(layer, keep, rerun=self.start, lattice=True))

    def select(self, view: View) -> Selection:
        """Keep what is left after tokens were merged layer by layer inside the vision encoder."""
        lattices = list(view.lattices())
        sizes = [frame.tokens for frame in view.frames]
        counts = share_out(view.k, sizes, sizes)
        keep, values = [], []
        for frame, (grid, at), count in zip(view.frames, lattices, counts, strict=True):
            if count:
                alive, features = (self._follow_code if self.released else self._compress)(frame, grid, count)
                keep.append(at.start + alive)
                values.append(frame.project(features))
        return Selection(torch.cat(keep, -1), torch.cat(values, -2).float())

    def _compress(self, frame: EncodedFrame, grid: Grid, count: int) -> tuple[Tensor, Tensor]:
        """Ordinals [..., count] of the frame's tokens that are left, and their features."""
        rerun = frame.rerun(self.start)
        sizes = torch.ones_like(rerun.alive, dtype=torch.float32)
        layers = rerun.remaining
        for i in range(layers):
            left = frame.tokens - (frame.tokens - count) * (i + 1) // layers
            products = rerun.step()
            gone = sizes.shape[-1] - left
            if gone:
                order = self._score(products, rerun.alive, grid).argsort(dim=-1, stable=True)
                kept = order[..., gone:].sort(-1).values
                states, sizes = compress(rerun.states, sizes, products[..., 1:, :], order[..., :gone], kept)
                rerun.keep(kept, states)
        return rerun.alive, rerun.features()

    def _follow_code(self, frame: EncodedFrame, grid: Grid, count: int) -> tuple[Tensor, Tensor]:
        """Ordinals [count] of the frame's tokens in the released order, and their features."""
        left, features = merge_as_released(frame.rerun(self.start, cls=True), count, self.beta)
        unused = torch.ones(1 + frame.tokens, dtype=torch.bool, device=left.device).index_fill(0, left, False)
        stand_in = unused[1:].byte().argmax() + 1
        return torch.where(left == 0, stand_in, left) - 1, features

    def _score(self, products: Tensor, alive: Tensor, grid: Grid) -> Tensor:
        """[..., m] redundancy score of every token; low means redundant. It is infinite for a frame's [CLS].

        Args:
            products: [..., 1 + m, m] products of queries and keys, as `EncoderRerun.step` returns them.
            alive: [..., m] ordinals of the tokens within the frame, ascending, its [CLS] among them if that is a token.
            grid: The frame's lattice.
        """
        first = grid.num_prefix_tokens
        patch, cls, rows = alive[..., first:] - first, products[..., 0, first:], products[..., 1 + first :, :]
        seen = rows > -torch.inf
        mean = rows.masked_fill(~seen, 0).sum(-1) / seen.sum(-1)
        score = self.beta * normalize(cls, dim=-1) - (1 - self.beta) * normalize(mean, dim=-1)
        window = (patch // grid.w // 2) * grid.w + patch % grid.w // 2
        lowest = score.new_full((*score.shape[:-1], grid.h * grid.w), torch.inf)
        lowest = lowest.scatter_reduce(-1, window, score, "amin")
        doubled = torch.where(score > 0, score / 2, score * 2)
        score = torch.where(score == lowest.gather(-1, window), doubled, score)
        return pad(score, (first, 0), value=torch.inf) if first else score


def compress(states: Tensor, sizes: Tensor, rows: Tensor, gone: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Merge the tokens `gone` into those of `kept` that they attend to most.

    Args:
        states: [..., m, patches, C] hidden states of all tokens.
        sizes: [..., m] how many tokens each of them stands for.
        rows: [..., m, m] products of every token's query with all keys, -inf between tokens that share no window.
        gone: Indices [..., g] of the tokens that are merged into others.
        kept: Indices [..., k] of the tokens that stay.

    Returns:
        States [..., k, patches, C] and sizes [..., k] of the tokens that stay.
    """
    own = take(rows, gone)
    products = own.gather(-1, kept.unsqueeze(-2).expand(*own.shape[:-1], -1))
    limit, highest = _find_limits(products)
    targets = (products > limit) | (products == highest)
    weights = products.masked_fill(~targets, -torch.inf).softmax(-1).nan_to_num(0)
    weights = weights * sizes.gather(-1, gone).unsqueeze(-1)
    flat, staying = states.float().flatten(-2), sizes.gather(-1, kept)
    totals = staying + weights.sum(-2)
    merged = (take(flat, kept) * staying.unsqueeze(-1) + weights.mT @ take(flat, gone)) / totals.unsqueeze(-1)
    return merged.unflatten(-1, states.shape[-2:]), totals


def _find_limits(products: Tensor) -> tuple[Tensor, Tensor]:
    """The .998 quantile and the maximum of each row of products [..., g, k], [..., g, 1] each.

    `Tensor.quantile` would sort whole rows; it rounds the share to float32, too.
    """
    last = products.shape[-1] - 1
    place = float(np.float32(0.998)) * last
    best = products.topk(last - floor(place) + 1).values  # descending
    low, high = best[..., -1:], best[..., last - ceil(place), None]
    return low.lerp(high, place - floor(place)), best[..., :1]
