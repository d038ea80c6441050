"""What is declared of a vision encoder so that strategies can read it and costs can be computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from tokenbench import Backbone, Grid
from tokenbench.contract.backbone import Encoder
from tokenbench.contract.sizes import EncoderSize

__all__ = ["Described", "Like"]


class Described(Protocol):
    """A vision encoder of some kind."""

    def describe(self, model: Any) -> Sequence[Encoder]:
        """Describe the encoders of a stock model, as `Backbone.describe_towers` does."""

    def size(self, config: Any, model: Any) -> EncoderSize:
        """Read the sizes of the encoder and the projector.

        Args:
            config: The stock configuration.
            model: The stock model; it needs no weights.
        """

    def default_grids(self, config: Any, tokens: int | None) -> tuple[Grid, ...]:
        """Return the lattices of a typical prompt, as `Backbone.default_grids` does."""

    def dummy_inputs(self, config: Any, grids: Sequence[Grid], text: int) -> dict[str, Tensor]:
        """Make one row of random words with random images, as `Backbone.dummy_inputs` does; without token types."""


@dataclass(frozen=True)
class Like:
    """An encoder like that of an architecture with an adapter of its own."""

    adapter: type[Backbone]
    """The adapter."""
    encoder_size: Callable[[Any], EncoderSize] | None = None
    """From the stock configuration to its sizes."""

    def describe(self, model: Any) -> Sequence[Encoder]:
        """As the adapter describes its own."""
        return self.adapter().describe_towers(model)

    def size(self, config: Any, model: Any) -> EncoderSize:
        """Sizes from the configuration."""
        assert self.encoder_size is not None
        return self.encoder_size(config)

    def default_grids(self, config: Any, tokens: int | None) -> tuple[Grid, ...]:
        """Those of the adapter."""
        return self.adapter().default_grids(config, tokens)

    def dummy_inputs(self, config: Any, grids: Sequence[Grid], text: int) -> dict[str, Tensor]:
        """Those of the adapter."""
        row = self.adapter().dummy_inputs(config, grids, text)
        row.pop("mm_token_type_ids", None)
        return row
