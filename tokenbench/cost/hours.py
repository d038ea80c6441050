"""GPU hours of a run before it is run: its FLOPs over what a card does of them in a second."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tokenbench.errors import UsageError, unknown

__all__ = ["CARDS", "UTILISATION", "Card", "gpu_hours", "parse_card"]

UTILISATION = 0.28
"""The share of the card's peak at which a sweep ran, measured once: 1.62 PFLOP in 5.8 s on an H200 (docs/efficiency.md)."""


@dataclass(frozen=True)
class Card:
    """A GPU: what its maker says of it, in TFLOP/s, dense, with accumulation in float32."""

    name: str
    """Its name."""
    half: float
    """The peak in bfloat16; in float16 where the card has no bfloat16."""
    single: float
    """The peak in float32, without TF32, which torch leaves off."""

    def __str__(self) -> str:
        """Return the card with its article."""
        return f"one {self.name}" if self.name in CARDS else f"a card of {self.half:g} TFLOP/s"

    def peak(self, dtype: str) -> float:
        """TFLOP/s in a type of numbers."""
        return self.single if dtype == "float32" else self.half


CARDS = {
    card.name: card
    for card in (
        Card("h200", 989, 67),  # NVIDIA H200 datasheet; its tensor figures are with sparsity, twice these
        Card("h100", 989, 67),  # NVIDIA H100 datasheet, SXM
        Card("h100-pcie", 756, 51),  # the same, PCIe
        Card("a100", 312, 19.5),  # NVIDIA A100 datasheet
        Card("l40s", 362, 91.6),  # NVIDIA L40S datasheet
        Card("l4", 121, 30.3),  # NVIDIA L4 datasheet, with sparsity 242
        Card("a10", 125, 31.2),  # NVIDIA A10 datasheet
        Card("v100", 125, 15.7),  # NVIDIA V100 datasheet, SXM2; float16
        Card("t4", 65, 8.1),  # NVIDIA T4 datasheet; float16
        Card("rtx-4090", 165, 82.6),  # NVIDIA Ada GPU architecture, appendix A
        Card("rtx-3090", 71, 35.6),  # NVIDIA GA102 GPU architecture, appendix A
    )
}


def parse_card(text: str) -> Card:
    """Return a card by its name, or one of so many TFLOP/s.

    Raises:
        UsageError: The text is neither.
    """
    name = text.strip().lower().replace(" ", "-")
    if name in CARDS:
        return CARDS[name]
    try:
        peak = float(name)
    except ValueError:
        raise unknown("card", text, CARDS, "you can also give its peak in TFLOP/s as a number") from None
    if not 0 < peak < math.inf:
        raise UsageError(
            f"--card {text} is not a number of TFLOP/s", f"give one above 0, or a name: {', '.join(CARDS)}"
        )
    return Card(name, peak, peak)


def gpu_hours(flops: float, card: Card, dtype: str) -> float:
    """How many hours of a card so many FLOPs take."""
    return flops / (card.peak(dtype) * 1e12 * UTILISATION) / 3600
