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
    """The strategy, with its parameters."""
    budget: str
    """The budget; `none` for a strategy that takes none."""


STOCK = Way(VANILLA, "stock")  # the stock model, no hook on it: what everything is compared with


@dataclass(frozen=True)
class Protocol:
    """What is measured of one model, on which prompts, and how often."""

    model: str
    """The model, as users name it."""
    ways: tuple[Way, ...]
    """The ways to run it that are compared with the stock model."""
    lengths: tuple[int | None, ...] = (None,)
    """Visual tokens in the prompts, one entry for each length; None stands for a common input."""
    text: int = 50
    """Text tokens in each prompt."""
    rows: int = 1
    """Prompts in a batch."""
    new: int = 16
    """New tokens to generate."""
    launches: int = 8
    """Processes that measure one after the other."""
    warm_up: int = 2
    """Passes of every way in each process that are not counted."""
    repetitions: int = 5
    """Passes of every way in each process that are counted."""
    device: str = "auto"
    """The device, as users name it."""
    dtype: str = "float16"
    """The type of the weights."""
    attention: str = "sdpa"
    """The decoder's implementation of attention."""
    random_weights: bool = False
    """Whether the model has random weights, so that its configuration is all that is needed."""
    layers: int | None = None
    """How many of the decoder's layers are run; None for all."""
    plugins: tuple[str, ...] = ()
    """Plug-ins that are single Python files."""
    load: tuple[int, ...] = ()
    """Numbers of clients that ask at the same time, one entry for each load."""
    largest_batch: int | None = None
    """How many requests of clients are answered at once, at most; None for as many as the largest load has clients."""
    quantization: str = ""
    """How the weights are quantized while they are loaded; empty for as they are stored."""

    @property
    def all_ways(self) -> tuple[Way, ...]:
        """All ways, beginning with the stock model."""
        return (STOCK, *self.ways)

    @property
    def batch_of_load(self) -> int:
        """The largest batch of the server under load."""
        return self.largest_batch or max(self.load)

    def to_json(self) -> dict[str, Any]:
        """Return the protocol as JSON values."""
        return asdict(self) | {"ways": [way._asdict() for way in self.ways]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Protocol:
        """Read what `to_json` returned."""
        lists = {name: tuple(values[name]) for name in ("lengths", "plugins", "load")}
        return cls(**{**values, **lists, "ways": tuple(Way(**way) for way in values["ways"])})
