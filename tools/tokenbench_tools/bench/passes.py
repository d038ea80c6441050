"""What a launch hands back."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Passes"]


@dataclass
class Passes:
    """What the passes of one way took on prompts of one length."""

    way: int
    """Its number in the protocol."""
    visual: int
    """Visual tokens."""
    first: list[float] = field(default_factory=list)
    """Seconds to the first token, of every pass."""
    further: list[list[float]] = field(default_factory=list)
    """Seconds for every further token, of every pass."""
    selecting: list[float] = field(default_factory=list)
    """Seconds of selection within a prefill, of separate passes."""
    cache: int = 0
    """Bytes of KV cache after prefill."""
    peak: int = 0
    """Bytes of memory."""
