"""Numbers and sentences that all report formats share."""

from collections.abc import Hashable, Iterable, Mapping
from math import isnan
from typing import Any

from tokenbench.tables import NOTHING

__all__ = [
    "NOTHING", "UNKNOWN", "count_of", "interval", "join_names", "limit", "marks_of", "number", "p_value", "percent", "range_of", "span",
    "verdict_text",
]  # fmt: skip

MINUS = "−"
UNKNOWN = "unknown"
"""What stands for a cost that nobody counted."""
_MOST_DIGITS = 5


def number(value: float, digits: int = 1, *, signed: bool = False) -> str:
    """A rounded number with a true minus sign; a dash where there is none."""
    if isnan(value):
        return NOTHING
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def percent(fraction: float, digits: int = 1, *, signed: bool = False) -> str:
    """A fraction as a number of per cent, without the sign %."""
    return number(100 * fraction, digits, signed=signed)


def interval(value: float, low: float, high: float, *, signed: bool = False, marks: Iterable[float] = ()) -> str:
    """``95.8 [94.4, 97.2]`` from fractions; without an interval where none is known.

    A limit that would be rounded to one of the ``marks`` (fractions such as no difference, or the margin) has as many
    digits as it takes to see on which side of it the limit lies, so that what is printed never contradicts the verdict.
    """
    if isnan(value) or isnan(low):
        return percent(value, signed=signed)
    at = list(marks)
    return f"{percent(value, signed=signed)} [{limit(low, at, signed=signed)}, {limit(high, at, signed=signed)}]"


def span(low: float, high: float, *, marks: Iterable[float] = ()) -> str:
    """``94.4 to 97.2`` for a sentence, from fractions; digits as in ``interval``."""
    at = list(marks)
    return f"{limit(low, at)} to {limit(high, at)}"


def limit(value: float, marks: Iterable[float], *, signed: bool = False) -> str:
    """A fraction as per cent, with as many digits as it takes to see on which side of every mark it lies."""
    text = percent(value, signed=signed)
    for mark in marks:
        if value != mark and text == percent(mark, signed=signed):
            digits = next((n for n in range(2, _MOST_DIGITS) if percent(value, n) != percent(mark, n)), 0)
            side = "<" if value < mark else ">"
            return percent(value, digits, signed=signed) if digits else side + text
    return text


def p_value(p: float) -> str:
    """A p value as a reader needs it."""
    if isnan(p):
        return NOTHING
    if p <= 0.0001:
        return "≤0.0001"
    return f"{p:.4f}" if p < 0.001 else f"{p:.3f}"


def marks_of(margin: float) -> list[float]:
    """What a limit of retention must not be rounded to: vanilla's, and the margin on either side, as fractions."""
    return [1.0, 1.0 - margin / 100, 1.0 + margin / 100]


def join_names(names: Iterable[str]) -> str:
    """``a, b and c``."""
    *first, last = list(names)
    return f"{', '.join(first)} and {last}" if first else last


def count_of(count: int, singular: str, plural: str = "") -> str:
    """``1 image``, ``1,200 images``."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def range_of(low: int, high: int) -> str:
    """``2`` or ``1–3``."""
    return str(low) if low == high else f"{low}–{high}"


def verdict_text(pair: Mapping[Hashable, Any]) -> str:
    """A pair's verdict in words, marked where the two differ no more than vanilla does from itself."""
    text = str(pair["verdict"].text)
    return f"{text}, at the noise floor" if pair.get("at_noise_floor", False) else text
