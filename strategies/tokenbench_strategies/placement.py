"""Refusals of a place in the decoder where a method makes no sense."""

from __future__ import annotations

from tokenbench import Stage, Strategy, UsageError

__all__ = ["check_before_decoder"]


def check_before_decoder(strategy: Strategy, stage: Stage) -> Stage:
    """Return the stage of a strategy that computes tokens anew with the projector.

    Raises:
        UsageError: If decoder layers come before the stage.
    """
    if stage.layer > 0:
        name = type(strategy).__name__
        raise UsageError(
            f"{name} creates new tokens with the projector, so it must run before layer 0, not before layer {stage.layer}"
        )
    return stage
