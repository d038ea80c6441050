"""What is measured, and how often."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from tokenbench.contract.cells import VANILLA

__all__ = ["FEW", "STOCK", "Protocol", "Way"]

FEW = 5  # launches; intervals from fewer are printed with a warning


class Way(NamedTuple):
    """One way to run the model: a strategy at a budget, both as users write them."""

    strategy: str
    budget: str


STOCK = Way(VANILLA, "stock")  # the stock model, no hook on it: what everything is compared with


@dataclass(frozen=True)
class Protocol:
    """The measurement of one model."""

    model: str
    ways: tuple[Way, ...]
    """Beside the stock model."""
    lengths: tuple[int | None, ...] = (None,)
    """Visual tokens of the prompts, None for those of a common input."""
    text: int = 50
    """Their other tokens."""
    rows: int = 1
    """Prompts in a batch."""
    new: int = 16
    """Tokens to generate."""
    launches: int = 8
    """Processes, and passes of every way in each, the first ones not counted."""
    warm_up: int = 2
    """Processes, and passes of every way in each, the first ones not counted."""
    repetitions: int = 5
    """Processes, and passes of every way in each, the first ones not counted."""
    device: str = "auto"
    dtype: str = "float16"
    attention: str = "sdpa"
    random_weights: bool = False
    """The sizes of the model without its weights."""
    layers: int | None = None
    """Of the decoder, None for all."""
    plugins: tuple[str, ...] = ()
    """Files."""

    @property
    def all_ways(self) -> tuple[Way, ...]:
        """With the stock model, which comes first."""
        return (STOCK, *self.ways)

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self) | {"ways": [way._asdict() for way in self.ways]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Protocol:
        """The reverse."""
        lists = {name: tuple(values[name]) for name in ("lengths", "plugins")}
        return cls(**{**values, **lists, "ways": tuple(Way(**way) for way in values["ways"])})
