"""What a launch hands back."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Passes"]


@dataclass
class Passes:
    """The times and sizes that one process measured for one way of running the model, on prompts of one length."""

    way: int
    """The number of the way in the protocol; 0 is the stock model."""
    visual: int
    """Visual tokens in each prompt."""
    first: list[float] = field(default_factory=list)
    """Seconds to the first token, one number for each pass."""
    further: list[list[float]] = field(default_factory=list)
    """Seconds of every further token, one list for each pass."""
    selecting: list[float] = field(default_factory=list)
    """Seconds of selection within a prefill, measured in passes of their own."""
    cache: int = 0
    """Bytes of the KV cache after the prefill."""
    peak: int = 0
    """Bytes of memory at the peak."""
    joules: float | None = None
    """Energy of one pass, measured in passes of their own; None where nothing tells it."""
