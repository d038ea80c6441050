"""Views made by hand, frames that only pretend to be an encoder's, and random numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tokenbench import Budget, Grid, Stage, Strategy, View
from tokenbench.engine import RowPlan

__all__ = ["FakeFrame", "fit_share", "layer_means", "make_view", "rand"]


def make_view(stage: Stage, n: int, k: int, **seen: Any) -> View:
    """What `stage` sees of n candidates, k of which are to stay: one row of patches, unless `seen` says otherwise."""
    nothing: dict[str, Any] = {
        name: {} for name in ("hidden", "text", "keys", "text_keys", "attention", "signals", "memo")
    }
    usual = {
        "n0": n,
        "alive": torch.arange(n),
        "grids": (Grid(1, 1, n),),
        "index": 0,
        "frames": (),
        "positions": torch.arange(n)[None],
        "text_positions": torch.arange(n, n + 8)[None],
        "rotary": rotate,
        "norm": lambda states: states,
        "question": "",
        "embed": lambda texts: rand(len(" ".join(texts)), len(texts), 4),
        "generator": torch.Generator(),
    }
    return View(stage=stage, k=k, **{**nothing, **usual, **seen})


def rotate(positions: Tensor) -> tuple[Tensor, Tensor]:
    """The cosines and sines [n, 4] of a rotary embedding of two frequencies."""
    angles = positions[0].unsqueeze(1) * torch.tensor([1.0, 0.1]).repeat(2)
    return angles.cos(), angles.sin()


def rand(seed: int, *shape: int) -> Tensor:
    """Normal numbers, float32."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fit_share(count: Callable[[float], int], k: int) -> float:
    """The largest share of 1 at which `count` is at most k, after 50 halvings; 0 if it is more at all of them."""
    if count(1.0) <= k:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if count(middle) <= k else (low, middle)
    return low


def layer_means(strategy: Strategy, budget: str, depth: int = 32, visual: int = 576) -> float:
    """Mean over decoder layers of the visual tokens that the schedule leaves."""
    from tokenbench.contract.budget import count

    tokens = [visual] * depth
    for stage in RowPlan.make(strategy, Budget.parse(budget), depth).stages(visual):
        assert stage.keep is not None
        tokens[stage.layer :] = [count(stage.keep, visual, tokens[-1])] * (depth - stage.layer)
    return sum(tokens) / depth


@dataclass
class FakeFrame:
    """A frame of `tokens` tokens whose projector is a matrix, and whose smaller pictures hold their own size.

    layers: of a rerun: the products that each makes of the tokens' ordinals: [1 + n, n], the [CLS] first, or with the
        [CLS] as a token, [1 + n, 1 + n].
    cls: the features of its [CLS].
    """

    tiles = None

    tokens: int
    weight: Tensor = field(default_factory=lambda: torch.eye(3))
    num_prefix_tokens: int = 0
    states: Tensor | None = None
    layers: tuple[Tensor, ...] = ()
    cls: Tensor | None = None

    def project(self, features: Tensor) -> Tensor:
        return features @ self.weight

    def encode_resized(self, h: int, w: int) -> Tensor:
        return torch.tensor([[h, w, i] for i in range(self.num_prefix_tokens + h * w)], dtype=torch.float32)

    def cls_features(self) -> Tensor:
        assert self.cls is not None
        return self.cls

    def rerun(self, share: float, cls: bool = False) -> FakeRerun:
        assert self.states is not None
        return FakeRerun(self, torch.arange(cls + self.tokens), self.states.unsqueeze(1), cls)


@dataclass
class FakeRerun:
    """A rerun through layers that double the states and attend as the frame's `layers` say."""

    frame: FakeFrame
    alive: Tensor
    states: Tensor
    cls: bool = False
    layer: int = 0

    @property
    def remaining(self) -> int:
        return len(self.frame.layers) - self.layer

    def step(self) -> Tensor:
        products = self.frame.layers[self.layer]
        self.states = 2 * self.states
        self.layer += 1
        rows = [self.alive[:1], self.alive] if self.cls else [torch.zeros(1, dtype=torch.long), 1 + self.alive]
        return products[torch.cat(rows)][:, self.alive]

    def keep(self, keep: Tensor, states: Tensor) -> None:
        self.alive, self.states = self.alive[keep], states

    def features(self) -> Tensor:
        return self.states.flatten(1)
