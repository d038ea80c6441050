"""What a launch hands back."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Passes"]


@dataclass
class Passes:
    """What the passes of one way took on prompts of one length.

    way: its number in the protocol. visual: visual tokens. first: seconds to the first token, of every pass. further: seconds
    for every further token, of every pass. selecting: seconds of selection within a prefill, of separate passes. cache:
    bytes of KV cache after prefill. peak: bytes of memory.
    """

    way: int
    visual: int
    first: list[float] = field(default_factory=list)
    further: list[list[float]] = field(default_factory=list)
    selecting: list[float] = field(default_factory=list)
    cache: int = 0
    peak: int = 0
