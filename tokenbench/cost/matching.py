"""Schedules solved for equal realised work, so that strategies can be compared at the same cost.

A budget then means: as much work in the decoder as if that many visual tokens were in every layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from tokenbench.contract.budget import Budget, count
from tokenbench.contract.sizes import DecoderSize, ModelSize
from tokenbench.contract.stage import Stage
from tokenbench.contract.strategy import Strategy
from tokenbench.cost.macs import flops, prefill_macs
from tokenbench.errors import InfeasibleError, UsageError

__all__ = ["Match", "Mode", "is_calibrated", "match", "tokens_per_layer", "work_of"]

Mode = Literal["nominal", "tokens", "flops"]
_STEPS = 60


@dataclass(frozen=True)
class Match:
    """Scales the counts of a schedule by one factor until its work is that of the budget in all layers."""

    mode: Mode
    """What is made equal: the mean of visual tokens over layers (`tokens`) or the decoder's multiply-accumulates
    (`flops`). Layers stay where they are, and so do the proportions between the stages, as far as counts above what
    is left allow."""
    budget: Budget
    """The budget whose work, if spent in all layers, is the goal."""
    depth: int
    """Decoder layers."""
    size: DecoderSize | None = None
    """Sizes of the decoder, from which `flops` follow; None for `tokens`."""
    adjusts: bool = True
    """Whether it scales anything: not the schedule of a strategy that takes no budget."""

    def __call__(self, stages: Sequence[Stage], visual: int, text: int) -> list[Stage]:
        """Return the scaled stages for a sample.

        Args:
            stages: The strategy's own stages.
            visual: Visual tokens of the sample.
            text: Its other tokens.

        Raises:
            InfeasibleError: If no factor reaches the budget's work.
        """
        if any(stage.keep is None for stage in stages):
            raise InfeasibleError(
                "the method itself decides how many tokens it keeps, and declares no dial by which that could be matched"
            )
        if not self.adjusts:
            return list(stages)
        wanted = count(self.budget.keep, visual, visual)
        target = self._work([float(wanted)] * self.depth, text)

        def at(factor: float) -> list[Stage]:
            return _scale_counts(stages, visual, factor)

        def excess(factor: float) -> float:
            return self._work(tokens_per_layer(at(factor), visual, self.depth), text) - target

        low, high = 0.0, visual / min(_counts(stages, visual))
        if excess(low) > 0:
            least = sum(tokens_per_layer(at(low), visual, self.depth)) / self.depth
            raise InfeasibleError(
                f"even with one token per stage, the mean is {least:.1f} visual tokens per layer, because none are dropped before layer "
                f"{stages[0].layer}; the budget is {wanted}"
            )
        for _ in range(_STEPS):
            middle = (low + high) / 2
            low, high = (middle, high) if excess(middle) <= 0 else (low, middle)
        return at(min(low, high, key=lambda factor: abs(excess(factor))))

    def _work(self, tokens: Sequence[float], text: int) -> float:
        return work_of(self.mode, tokens, text, self.size)


def match(mode: str, strategy: Strategy, budget: Budget, depth: int, size: ModelSize | None) -> Match | None:
    """Return what makes a strategy's work equal to that of others at its budget.

    Args:
        mode: `nominal`, `tokens` or `flops`.
        strategy: The strategy.
        budget: Its budget.
        depth: Decoder layers.
        size: Sizes of the model; None if they are not known.

    Returns:
        None if budgets are nominal, or the strategy is calibrated instead (see `is_calibrated`).

    Raises:
        UsageError: If the mode needs sizes that are not known.
    """
    if mode == "nominal":
        return None
    if mode == "flops" and size is None:
        raise UsageError("--match flops needs a backbone that implements size()", "use --match tokens")
    if is_calibrated(mode, strategy):
        return None
    return Match(cast("Mode", mode), budget, depth, size.decoder if size else None, strategy.budgeted)


def is_calibrated(mode: str, strategy: Strategy) -> bool:
    """Return whether budgets are matched by the strategy's dial: if it decides its own counts, and has one."""
    return mode != "nominal" and not strategy.budgeted and strategy.dial is not None


def work_of(mode: str, tokens: Sequence[float], text: int, size: DecoderSize | None) -> float:
    """Return what is made equal: visual tokens as the mean over layers, or FLOPs of the decoder's prefill.

    Args:
        mode: `tokens` or `flops`.
        tokens: Visual tokens of every decoder layer.
        text: The other tokens of the prompt.
        size: Sizes of the decoder; needed for `flops`.
    """
    if mode == "tokens":
        return sum(tokens) / len(tokens)
    assert size is not None
    return flops(prefill_macs(size, tokens, text))


def tokens_per_layer(stages: Sequence[Stage], visual: int, depth: int) -> list[float]:
    """Visual tokens that every layer computes under a schedule."""
    tokens = [float(visual)] * depth
    for stage, kept in zip(stages, _counts(stages, visual), strict=True):
        tokens[stage.layer :] = [float(kept)] * (depth - stage.layer)
    return tokens


def _counts(stages: Sequence[Stage], visual: int) -> list[int]:
    """Tokens after every stage."""
    counts: list[int] = []
    for stage in stages:
        assert stage.keep is not None
        counts.append(count(stage.keep, visual, counts[-1] if counts else visual))
    return counts


def _scale_counts(stages: Sequence[Stage], visual: int, factor: float) -> list[Stage]:
    """The stages with their own counts, not those cut to what was left, times a factor."""
    own = [count(stage.keep, visual, visual) for stage in stages if stage.keep is not None]
    return [replace(stage, keep=max(1, int(factor * kept))) for stage, kept in zip(stages, own, strict=True)]
