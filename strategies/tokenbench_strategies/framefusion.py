"""FrameFusion: what repeats from frame to frame is merged in the first layers, and attention prunes the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from tokenbench import Attn, Budget, Keep, Selection, Stage, Strategy, View
from tokenbench_strategies.frames import clips
from tokenbench_strategies.indices import average_runs, take

__all__ = ["MERGE", "PRUNE", "REST", "FrameFusion", "compare_neighbours", "find_repeated"]

_FEW = 0.1
MERGE, PRUNE, REST = range(3)
"""What a sample's next stage does."""


class FrameFusion(Strategy):
    """FrameFusion (ICCV 2025). The budget is the mean of the visual tokens over the layers.

    Before layers 0, 1, 2 and so on, each token is compared with the one at its place in the frame before that still has
    one (cosine of hidden states). Tokens that are alike (low or more) are merged: a run of them and the token before it
    become their plain mean, at the place of the first. Merging ends after a step that merges fewer than a tenth, and
    the next stage prunes: what receives most attention of the last prompt token at the layer before stays, as many as
    the budget has left for the later layers. If more are alike than must go, only the most similar are merged, and
    nothing is pruned. Positions and the caches of earlier layers stay.

    Deviations: the released code acts between attention and MLP of a layer, here a layer is finished first; it counts
    28 layers whatever the model has; and on Qwen2-VL it takes the mean of the last four tokens' attention. Merging ends
    at a quarter of the depth at the latest. How many tokens each layer has follows from the clip: the schedule says
    only how many they are at most. An image is a clip of one frame, in which nothing repeats.
    """

    merges: ClassVar[bool] = True
    batching: ClassVar[Literal["vmap", "stacked", "loop"]] = "stacked"

    low: float = Field(0.6, description="similarity from which a token is merged")

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """At most everything until a quarter of the depth, then at most what a budget unspent until then allows."""
        last, mean = max(1, depth // 4), float(budget.fraction)
        whole, rest = _Spending(1.0, mean, depth), _Spending(min(1.0, mean * depth / (depth - last)), mean, depth)
        return [*((layer, whole) for layer in range(last)), (last, rest)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the hidden states, the lattice, and the last token's attention at the layer before."""
        attention = (Attn(layer - 1),) if layer else ()
        return Stage(layer, keep, hidden=(layer,), attention=attention, lattice=layer == 0, at_most=True)

    def select(self, view: View) -> Selection:
        """Merge until few tokens repeat, then prune once."""
        if view.index == 0:
            view.memo |= _begin(view)
        memo, doing = view.memo, view.memo["next"]
        if view.k < view.n:  # only the last stage has another bound, and prunes where nothing was pruned yet
            doing = doing.clamp(min=PRUNE)
        acts = set(doing.flatten().numpy().tolist())
        keep, values = torch.ones_like(view.alive, dtype=torch.bool), None
        if acts == {REST}:
            for name in ("places", "frames", "spent"):  # nobody reads them any more
                memo.pop(name, None)
            return Selection(torch.arange(view.n, device=keep.device).expand_as(keep))
        act, surplus = doing.to(keep.device, non_blocking=True), self._surplus(view)
        memo["next"] = torch.full_like(doing, REST)
        if MERGE in acts:
            keep, values, memo["next"] = self._merge(view, surplus, act == MERGE)
        if PRUNE in acts:
            (request,) = view.stage.attention
            rank = view.attention[request][..., 0, :].mean(-2).argsort(dim=-1, descending=True, stable=True).argsort()
            count = (view.n * (1 - surplus)).round().clamp(1, view.k)
            keep = keep & ((rank < count) | (act != PRUNE))
        memo["spent"] = memo["spent"] + keep.sum(-1, keepdim=True).double() / view.n0
        return Selection(keep, values)

    def _surplus(self, view: View) -> Tensor:
        """[..., 1] the share of the tokens that must go."""
        keep, spent = view.stage.keep, view.memo["spent"]
        if isinstance(keep, _Spending):
            return keep.surplus(spent, view.index, view.n / view.n0)
        return torch.full_like(spent, 1 - view.k / view.n)

    def _merge(self, view: View, surplus: Tensor, merging: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """What stays [..., n] where tokens are merged [..., 1], new values if some go, and what the next stage does.

        It looks at the device once, for all samples.
        """
        places = view.memo["places"].gather(-1, view.alive)
        order = places.argsort(dim=-1, stable=True)
        inverse = order.argsort(dim=-1)
        states = take(view.hidden[view.stage.layer].float(), order)
        alike = compare_neighbours(states, places.gather(-1, order)).gather(-1, inverse)
        gone, following = find_repeated(alike, self.low, surplus)
        gone, following = gone & merging, torch.where(merging, following, REST)
        found = torch.cat([following, gone.any(-1, keepdim=True)], -1).cpu()
        following = found[..., :1]
        if not found[..., 1].numpy().any():
            return ~gone, None, following
        means = average_runs(states, ~gone.gather(-1, order), view.memo["frames"])
        return ~gone, take(means, inverse), following


class _Spending(float):
    """The share of the tokens that a stage keeps at most, with the mean over all layers that it is a part of."""

    mean: float
    """The mean share of the tokens over the layers."""
    depth: int
    """How many layers there are."""

    def __new__(cls, share: float, mean: float, depth: int) -> _Spending:
        made = super().__new__(cls, share)
        made.mean, made.depth = mean, depth
        return made

    def __getnewargs__(self) -> tuple[float, float, int]:  # type: ignore[override]
        return float(self), self.mean, self.depth

    def surplus(self, spent: Tensor, layers: int, left: float) -> Tensor:
        """The share of the tokens that are left which must go, so that all later layers together keep to the mean.

        Args:
            spent: The sum of the shares that earlier layers computed, float64.
            layers: How many layers these are.
            left: The share that is left now.
        """
        return (1 - (self.depth * self.mean - spent) / ((self.depth - layers) * left)).clamp(min=0)


def compare_neighbours(states: Tensor, places: Tensor) -> Tensor:
    """[..., n] the cosine of states [..., n, C] with the one before, -inf where that lies at another place [..., n]."""
    unit = states / torch.linalg.vector_norm(states, dim=-1, keepdim=True).clamp(min=1e-8)
    alike = (unit[..., 1:, :] * unit[..., :-1, :]).sum(-1).masked_fill(places.diff(dim=-1) != 0, -torch.inf)
    return pad(alike, (1, 0), value=-torch.inf)


def find_repeated(alike: Tensor, low: float, surplus: Tensor) -> tuple[Tensor, Tensor]:
    """Which tokens [..., n] are merged into the one before them at their place, and what the next stage does [..., 1].

    Args:
        alike: [..., n] how similar tokens are to the one before them.
        low: The similarity from which a token repeats the one before.
        surplus: [..., 1] the share of the tokens that must go, float64.
    """
    n, repeats = alike.shape[-1], alike >= low
    share = repeats.sum(-1, keepdim=True).double() / n
    few = share < surplus
    rank = alike.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    gone = torch.where(few, repeats, rank < (surplus * n).long())
    return gone, torch.where(few, torch.where(share < _FEW, PRUNE, MERGE), REST)


def _begin(view: View) -> dict[str, Any]:
    """What samples remember.

    `places`: [..., n0] the place of every token in its frame, another one for each image or video; what has none has
    its own. `frames`: of the longest clip. `spent`: [..., 1] the shares that layers computed, summed up. `next`: [..., 1]
    what the next stage does, on the host, so that nobody waits to learn that there is nothing to do.
    """
    device, longest = view.alive.device, 1
    places = view.n0 + torch.arange(view.n0, device=device)
    for at, _ in clips(view):
        places[at] = at[0].expand_as(at)
        longest = max(longest, len(at))
    lead = view.alive.shape[:-1]
    return {
        "places": places.expand_as(view.alive),
        "frames": longest,
        "spent": torch.zeros(*lead, 1, dtype=torch.float64, device=device),
        "next": torch.zeros(*lead, 1, dtype=torch.long, device="cpu"),
    }
