"""Numbers and sentences that all report formats share."""

from collections.abc import Hashable, Iterable, Mapping
from math import isnan
from typing import Any

MINUS = "−"
NOTHING = "–"


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


def interval(value: float, low: float, high: float, *, signed: bool = False) -> str:
    """``95.8 [94.4, 97.2]`` from fractions; without an interval where none is known."""
    if isnan(value) or isnan(low):
        return percent(value, signed=signed)
    return f"{percent(value, signed=signed)} [{percent(low, signed=signed)}, {percent(high, signed=signed)}]"


def p_value(p: float) -> str:
    """A p value as a reader needs it."""
    if isnan(p):
        return NOTHING
    if p <= 0.0001:
        return "<0.0001"
    return f"{p:.4f}" if p < 0.001 else f"{p:.3f}"


def listed(names: Iterable[str]) -> str:
    """``a, b and c``."""
    *first, last = list(names)
    return f"{', '.join(first)} and {last}" if first else last


def counted(count: int, singular: str, plural: str = "") -> str:
    """``1 image``, ``1,200 images``."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def range_of(low: int, high: int) -> str:
    """``2`` or ``1–3``."""
    return str(low) if low == high else f"{low}–{high}"


def floored(text: str, pair: Mapping[Hashable, Any]) -> str:
    """A pair's verdict, marked where it differs no more than vanilla does from itself."""
    return f"{text}, at the noise floor" if pair.get("at_noise_floor", False) else text
