"""A strategy made ready for one decoder: its schedule, checked before anything runs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import torch

from tokenbench.contract.backbone import Backbone
from tokenbench.contract.budget import Budget
from tokenbench.contract.stage import Stage
from tokenbench.contract.strategy import Strategy
from tokenbench.errors import InfeasibleError, StrategyError, TokenBenchError, UsageError, brief

__all__ = ["Fit", "Question", "RowPlan"]

# (stages, visual tokens, text tokens) -> the same stages with other counts: see matching.py.
Fit = Callable[[Sequence[Stage], int, int], Sequence[Stage]]
_TYPICAL = 576


@dataclass(frozen=True)
class Question:
    """What a user asked, apart from the prompt that it became a part of."""

    text: str
    """The user's own words."""
    tokenize: Callable[[str], Sequence[int]]
    """Maps a text to its ids, without special tokens."""


@dataclass(frozen=True)
class RowPlan:
    """What one row of a batch runs."""

    strategy: Strategy
    """The method."""
    budget: Budget
    """Its budget."""
    depth: int
    """Layers of the decoder."""
    seed: int = 0
    """Seeds its random numbers, together with `key`."""
    key: str = ""
    """Names the sample."""
    fit: Fit | None = None
    """Changes the schedule's counts, so that strategies can be compared at equal work."""
    name: str = ""
    """What errors call the strategy."""
    question: Question | None = None
    """What the user asked; None if nobody said."""
    _known: dict[tuple[int, int], tuple[Stage, ...]] = field(default_factory=dict, compare=False, repr=False)
    """The stages by numbers of visual and text tokens, once they have been computed."""
    apart: set[Any] = field(default_factory=set, compare=False, repr=False)
    """Stages at which the strategy cannot choose for several rows at once, once it has been tried."""

    @classmethod
    def make(
        cls, strategy: Strategy, budget: Budget, depth: int, seed: int = 0, fit: Fit | None = None, name: str = ""
    ) -> RowPlan:
        """A plan whose schedule was tried on a typical sample.

        Raises:
            UsageError: If the decoder cannot run it.
        """
        plan = cls(strategy, budget, depth, seed, "", fit, name or type(strategy).__name__)
        _ = plan.typical
        return plan

    def __str__(self) -> str:
        """What prunes at which budget."""
        return f"{self.name or type(self.strategy).__name__} at budget {self.budget}"

    def of(self, key: str, question: Question | None = None) -> RowPlan:
        """The same plan for another sample."""
        return replace(self, key=key, question=question)

    @property
    def trim(self) -> bool:
        """Whether dropped tokens are also removed from the KV cache of earlier layers of this decoder."""
        return self.strategy.trims(self.depth)

    @property
    def typical(self) -> tuple[Stage, ...]:
        """The strategy's own stages for a typical sample, checked: layers and requests, if not counts, hold for all."""
        return self.check_stages(max(_TYPICAL, self.budget.tokens or 0))

    def stages(self, visual: int, text: int = 0) -> tuple[Stage, ...]:
        """The stages for a sample of so many tokens.

        Raises:
            UsageError: If the decoder cannot run them.
        """
        if (visual, text) not in self._known:
            stages = self.check_stages(visual)
            self._known[visual, text] = tuple(self.fit(stages, visual, text)) if self.fit else stages
        return self._known[visual, text]

    def check_stages(self, visual: int) -> tuple[Stage, ...]:
        """The strategy's own stages for so many visual tokens, checked.

        Raises:
            StrategyError: If schedule() does not return pairs of a layer and a number of tokens.
            UsageError: If a layer does not exist in this decoder, or a stage asks for what is not known there.
        """
        name = self.name or type(self.strategy).__name__
        stages = self._ask_schedule(name, visual)
        last = -1
        for stage in stages:
            if not last < stage.layer < self.depth:
                raise UsageError(
                    f"strategy {name}: a stage before layer {stage.layer} cannot run on a decoder of {self.depth} layers"
                    + (f" after one before layer {last}" if last >= 0 else "")
                )
            last = stage.layer
            _check_requests(name, stage)
        return stages

    def check_backbone(self, backbone: Backbone) -> None:
        """Check that a backbone has what the stages read.

        Raises:
            InfeasibleError: A stage reads what the backbone does not describe.
        """
        for stage in self.typical:
            try:
                backbone.check_stage(stage)
            except InfeasibleError as error:
                name = self.name or type(self.strategy).__name__
                raise InfeasibleError(f"strategy {name} {error}", error.hint) from None

    def _ask_schedule(self, name: str, visual: int) -> tuple[Stage, ...]:
        """What the strategy says, if it is a schedule at all."""
        try:
            stages = tuple(self.strategy.stages(self.depth, self.budget.of(visual)))
            sound = all(isinstance(stage.layer, int) and _is_count(stage.keep) for stage in stages)
        except TokenBenchError:
            raise
        except Exception as error:  # a strategy's own code may raise anything
            raise StrategyError(
                f"strategy {name} has no schedule for {visual} visual tokens: {brief(error)}"
            ) from error
        if not sound:
            raise StrategyError(
                f"strategy {name}: its schedule must consist of (layer, keep) pairs, with keep a number or share of tokens, not "
                f"{[(stage.layer, stage.keep) for stage in stages]}"
            )
        return stages

    def generator(self) -> torch.Generator:
        """A stream of random numbers (on the CPU) that depends on the seed and the sample alone."""
        digest = hashlib.sha256(f"{self.seed}:{self.key}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _is_count(keep: object) -> bool:
    return keep is None or (isinstance(keep, int | float | Fraction) and math.isfinite(keep) and keep >= 0)


def _check_requests(name: str, stage: Stage) -> None:
    where = f"strategy {name}, stage before layer {stage.layer}"
    for depth in (*stage.hidden, *stage.text):
        if not 0 <= depth <= stage.layer:
            raise UsageError(f"{where}: hidden states of depth {depth} are not available there")
    for layer in stage.keys:
        if not 0 <= layer < stage.layer:
            raise UsageError(f"{where}: keys of layer {layer} are not available there")
    for request in stage.attention:
        if not request.known_at(stage.layer):
            kind = type(request).__name__
            raise UsageError(
                f"{where}: attention of layer {request.layer} is not available there (requested with {kind})"
            )
