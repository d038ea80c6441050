"""What a run decided: reports and tests read it, nothing in the engine does."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from tokenbench.contract.lattice import Grid

__all__ = ["RowTrace"]


@dataclass
class RowTrace:
    """The decisions for one row of one prefill.

    visual: visual tokens the row began with; text: its other tokens. depth: decoder layers.
    grids: the lattices of its visual tokens.
    stages: (layer, [k] kept ordinals of the visual tokens, ascending) of every stage, in order.
    merged: some kept tokens took in others. compact: positions were renumbered without gaps.
    trim: the dropped tokens left the KV cache of earlier layers, too.
    peeked: tokens in every attention layer that was asked before it ran. prior_layers, prior_tokens: of a second forward.
    encoder_rows: of every frame, the rows the encoder gives it, and those that each layer computes where the method runs it on
        fewer; empty where it does not.
    """

    visual: int
    text: int
    depth: int
    trim: bool = False
    grids: tuple[Grid, ...] = ()
    merged: bool = False
    compact: bool = False
    stages: list[tuple[int, Tensor]] = field(default_factory=list)
    peeked: list[int] = field(default_factory=list)
    prior_layers: int = 0
    prior_tokens: int = 0
    encoder_rows: list[tuple[int, list[int]]] = field(default_factory=list)

    @property
    def kept(self) -> list[int]:
        """Ordinals of the visual tokens that are there to the end."""
        if not self.stages:
            return list(range(self.visual))
        kept: list[int] = self.stages[-1][1].tolist()
        return kept

    @property
    def tokens_per_layer(self) -> list[int]:
        """Visual tokens that every decoder layer computes: the realised budget."""
        tokens = [self.visual] * self.depth
        for layer, kept in self.stages:
            tokens[layer:] = [len(kept)] * (self.depth - layer)
        return tokens

    @property
    def mean_tokens(self) -> float:
        """Mean of `tokens_per_layer`."""
        return sum(self.tokens_per_layer) / self.depth

    @property
    def cache_lengths(self) -> list[int]:
        """Tokens of the prompt that every layer's KV cache holds after prefill."""
        tokens = self.tokens_per_layer
        visual = [tokens[-1]] * self.depth if self.trim else tokens
        return [self.text + n for n in visual]
