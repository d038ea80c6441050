"""A strategy made ready for one decoder: its schedule, checked before anything runs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch

from tokenbench.budget import Budget
from tokenbench.errors import UsageError
from tokenbench.strategy import Attn, Stage, Strategy

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """What one row of a batch runs. `seed` and `key` (the sample's) seed its random numbers."""

    strategy: Strategy
    stages: tuple[Stage, ...]
    seed: int = 0
    key: str = ""

    @classmethod
    def make(cls, strategy: Strategy, budget: Budget, depth: int, seed: int = 0, key: str = "") -> Plan:
        """Ask the strategy for its schedule. Raises UsageError if a decoder of `depth` layers cannot run it."""
        stages = tuple(strategy.stages(depth, budget))
        name = type(strategy).__name__
        last = -1
        for stage in stages:
            if not last < stage.layer < depth:
                raise UsageError(
                    f"strategy {name}: a stage before layer {stage.layer} cannot run on a decoder of {depth} layers"
                    + (f" after one before layer {last}" if last >= 0 else "")
                )
            last = stage.layer
            _check_requests(name, stage)
        return cls(strategy, stages, seed, key)

    def of(self, key: str) -> Plan:
        """The same plan for another sample."""
        return replace(self, key=key)

    def generator(self) -> torch.Generator:
        """A stream of random numbers (on the CPU) that depends on the seed and the sample alone."""
        digest = hashlib.sha256(f"{self.seed}:{self.key}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)

    def hidden_depths(self) -> set[int]:
        """Depths whose hidden states some stage reads."""
        return {depth for stage in self.stages for depth in (*stage.hidden, *stage.text)}

    def requests(self, layer: int) -> set[Attn]:
        """Attention rows to record when decoder layer `layer` runs."""
        return {a for stage in self.stages for a in stage.attention if a.layer == layer and not a.peek}


def _check_requests(name: str, stage: Stage) -> None:
    where = f"strategy {name}, stage before layer {stage.layer}"
    for depth in (*stage.hidden, *stage.text):
        if not 0 <= depth <= stage.layer:
            raise UsageError(f"{where}: hidden states of depth {depth} are not known there")
    for request in stage.attention:
        known = request.layer == stage.layer if request.peek else 0 <= request.layer < stage.layer
        if not known:
            raise UsageError(f"{where}: attention of layer {request.layer} is not known there (peek={request.peek})")
