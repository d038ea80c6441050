"""Scales: where a value lies in a picture, and which ticks it has."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

from tokenbench_reports.html.cells import Cell

Bar = tuple[float, float, float, bool, bool]
"""The places of a lower limit, a value and an upper limit, and whether the limits lie beyond the picture: they then have no cap."""


@dataclass(frozen=True)
class Scale:
    """A linear scale from values to places."""

    low: float
    """The value at ``start``."""
    high: float
    """The value at ``end``."""
    start: float
    """The place of ``low``."""
    end: float
    """The place of ``high``."""

    def __call__(self, value: float) -> float:
        """The place of a value, held within the scale."""
        inside = min(max(value, self.low), self.high)
        return round(self.start + (self.end - self.start) * (inside - self.low) / (self.high - self.low), 1)

    def bar(self, value: float, low: float, high: float) -> Bar:
        """The places of a value and of its limits, and whether the lower and the upper limit lie beyond the scale."""
        return self(low), self(value), self(high), low < self.low, high > self.high

    def ticks(self, most: int) -> list[float]:
        """Round values within the scale, ``most`` or a few less."""
        rough = (self.high - self.low) / most
        power = 10.0 ** floor(log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
        return [step * at for at in range(ceil(self.low / step), floor(self.high / step) + 1)]


def kept_range(cells: Iterable[Cell]) -> tuple[float, float]:
    """The range of accuracy kept that a picture shows, with 100 % in it.

    It begins at a multiple of 20 and ends at 125 at most, since few images make intervals that would flatten all else.
    """
    ends = [end for cell in cells for end in cell.kept if isfinite(end)]
    low = min([80.0, *ends])
    return max(0.0, 20.0 * (low // 20)), min(125.0, max([103.0, *(end + 1 for end in ends)]))


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move places apart to at least ``gap``, in their order, and within ``low`` and ``high`` as far as there is room."""
    places: list[float] = []
    for place in wanted:
        places.append(max(place, places[-1] + gap if places else low))
    limit = high
    for at in range(len(places) - 1, -1, -1):
        places[at] = min(places[at], limit)
        limit = places[at] - gap
    return [round(place, 1) for place in places]
