"""FrameFusion: what repeats from frame to frame is merged in the first layers, and attention prunes the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cosine_similarity

from tokenbench import Attn, Budget, Keep, Selection, Stage, Strategy, View
from tokenbench.contract.strategy import top
from tokenbench_strategies.frames import clips

__all__ = ["FrameFusion", "find_repeated", "merge_repeated"]

_FEW = 0.1


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
        memo, keep, everything = view.memo, view.stage.keep, torch.arange(view.n, device=view.alive.device)
        if view.index == 0:
            memo |= {"places": _places(view), "spent": (), "next": "merge"}
        surplus = keep.surplus(memo["spent"], view.n / view.n0) if isinstance(keep, _Spending) else 1 - view.k / view.n
        last = view.k < view.n  # only the last stage has another bound
        selection = Selection(everything)
        if memo["next"] == "prune" or (last and memo["next"] == "merge"):
            (request,) = view.stage.attention
            count = min(view.k, max(1, round(view.n * (1 - surplus))))
            selection, memo["next"] = Selection(top(view.attention[request][:, 0].mean(0), count)), "rest"
        elif memo["next"] == "merge":
            states = view.hidden[view.stage.layer].float()
            gone, memo["next"] = find_repeated(states, memo["places"][view.alive], self.low, surplus)
            if bool(gone.any()):
                selection = merge_repeated(states, memo["places"][view.alive], gone)
        memo["spent"] += (len(selection.keep) / view.n0,)  # a new tuple: samples that began alike share the old one
        return selection


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

    def surplus(self, spent: Sequence[float], left: float) -> float:
        """The share of the tokens that are left which must go, so that all later layers together keep to the mean.

        Args:
            spent: The shares that earlier layers computed.
            left: The share that is left now.
        """
        return max(0.0, 1 - (self.depth * self.mean - sum(spent)) / ((self.depth - len(spent)) * left))


def find_repeated(states: Tensor, places: Tensor, low: float, surplus: float) -> tuple[Tensor, str]:
    """Which tokens [n] are merged into the one before them at their place, and what the next stage does.

    Args:
        states: [n, C] hidden states, in the order of the frames.
        places: [n] where a token lies in its frame.
        low: The similarity from which a token repeats the one before.
        surplus: The share of the tokens that must go.
    """
    order = places.argsort(stable=True)
    follows = places[order].diff() == 0
    alike = torch.full_like(states[:, 0], -torch.inf)
    alike[order[1:]] = cosine_similarity(states[order[1:]], states[order[:-1]], dim=-1).masked_fill(
        ~follows, -torch.inf
    )
    gone = alike >= low
    share = int(gone.sum()) / len(states)
    if share < surplus:
        return gone, "merge" if share >= _FEW else "prune"
    most = alike.argsort(descending=True, stable=True)[: int(surplus * len(states))]
    return torch.zeros_like(gone).index_fill(0, most, True), "rest"


def merge_repeated(states: Tensor, places: Tensor, gone: Tensor) -> Selection:
    """What is left of states [n, C]: each the plain mean of itself and of the tokens behind it at its place that go."""
    order = places.argsort(stable=True)
    home = torch.empty_like(order).index_copy(0, order, (~gone[order]).cumsum(0) - 1)
    sums = torch.zeros_like(states[: int((~gone).sum())]).index_add(0, home, states)
    means = sums / home.bincount(minlength=len(sums)).unsqueeze(1)
    keep = (~gone).nonzero().flatten()
    return Selection(keep, means[home[keep]])


def _places(view: View) -> Tensor:
    """[n0] the place of every token in its frame, another one for each image or video; what has none has its own."""
    places = view.n0 + torch.arange(view.n0, device=view.alive.device)
    for at, _ in clips(view):
        places[at] = at[0].expand_as(at)
    return places
