"""What a run decided: reports and tests read it, nothing in the engine does."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from tokenbench.contract.lattice import Grid
from tokenbench.contract.stage import Stage

__all__ = ["RowTrace", "Way"]

Way = Literal["alone", "stacked", "vmap", "loop"]
"""How a strategy's code ran: for one row alone, or for several rows, by code that takes stacked rows, under `torch.vmap`,
or row by row."""


@dataclass
class RowTrace:
    """The decisions for one row of one prefill."""

    visual: int
    """Visual tokens that the row began with."""
    text: int
    """Its other tokens."""
    depth: int
    """Decoder layers."""
    trim: bool = False
    """Whether the dropped tokens left the KV cache of earlier layers, too."""
    grids: tuple[Grid, ...] = ()
    """The lattices of its visual tokens."""
    merged: bool = False
    """Whether some kept tokens took in others."""
    compact: bool = False
    """Whether positions were renumbered without gaps."""
    stages: list[tuple[int, Tensor]] = field(default_factory=list)
    """(layer, [k] kept ordinals of the visual tokens, in the order of the sequence) of every stage, in order."""
    values: list[Tensor | None] = field(default_factory=list)
    """[k, C] merged states of the tokens that every stage kept, on the CPU, or None where nothing was merged; empty unless they
    are to be remembered."""
    ways: list[Way] = field(default_factory=list)
    """How the strategy's code ran at every stage."""
    repeated_attentions: list[int] = field(default_factory=list)
    """Tokens in every attention layer that ran once more for a stage."""
    no_question_layers: int = 0
    """Layers of the forward pass without the question, 0 if there was none."""
    no_question_tokens: int = 0
    """Tokens in that pass."""
    encoder_positions: list[tuple[int, list[int]]] = field(default_factory=list)
    """For each frame, the length of the encoder's sequence for it, and how many positions each layer computes if the
    method runs it on fewer; empty if it does not."""

    def count_requests(self, stage: Stage, candidates: int, prefix: int) -> None:
        """Write down what a stage's requests cost beyond the prefill.

        Args:
            stage: The stage.
            candidates: Visual tokens that reach it.
            prefix: Tokens of the row up to its last visual one.
        """
        if any(request.repeats_attention for request in stage.attention):
            self.repeated_attentions.append(candidates + self.text)
        if extra := max((request.extra_layers for request in stage.attention), default=0):
            self.no_question_layers = max(self.no_question_layers, extra)
            self.no_question_tokens = prefix + 1

    @property
    def kept(self) -> list[int]:
        """Ordinals of the visual tokens that are there to the end."""
        if not self.stages:
            return list(range(self.visual))
        kept: list[int] = self.stages[-1][1].tolist()
        return kept

    @property
    def kept_by_lattice(self) -> list[tuple[Grid, int]]:
        """Of every lattice, in the order of the prompt, how many of its tokens are there to the end.

        On a tiled image these are the whole picture and its tiles.
        """
        kept, start, counts = sorted(self.kept), 0, []
        for grid in self.grids:
            counts.append((grid, bisect_left(kept, start + grid.tokens) - bisect_left(kept, start)))
            start += grid.tokens
        return counts

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
