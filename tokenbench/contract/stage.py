"""What a stage is and what it may ask to see: the requests that the engine serves. Knows no model."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar, Literal

__all__ = ["Attn", "Keep", "NoQuestionAttn", "OwnLayerAttn", "Queries", "Signal", "Stage"]

# A number of tokens, a share of those the sample began with, or None: the method decides.
Keep = int | float | Fraction | None

Queries = Literal["last", "null", "question", "question[:-1]"]


@dataclass(frozen=True)
class Attn:
    """A request for the attention of decoder layer `layer`, which is recorded when the prefill runs the layer.

    The layer must come before the stage's. Recording costs no further pass.
    """

    layer: int
    """The decoder layer."""
    queries: Queries = "last"
    """The tokens that attend: the `last` token of the prompt, all tokens of the `question` (those after the visual
    tokens), the question without its last token, or `null`, the first token after the visual tokens."""

    repeats_attention: ClassVar[bool] = False
    """Whether the attention of its layer is computed once more for it."""

    @property
    def extra_layers(self) -> int:
        """How many decoder layers run once more for it, in a forward pass of their own."""
        return 0

    @property
    def in_prefill(self) -> bool:
        """Whether the prefill itself computes it, so that it is only recorded."""
        return not self.repeats_attention and not self.extra_layers

    def known_at(self, stage: int) -> bool:
        """Whether a stage before decoder layer `stage` can have it."""
        return 0 <= self.layer < stage


@dataclass(frozen=True)
class OwnLayerAttn(Attn):
    """A request for the attention of the layer that the stage stands before, among the tokens that reach the stage.

    The attention of that layer runs once more: first for the stage, then for the tokens that it keeps.
    """

    repeats_attention: ClassVar[bool] = True

    def known_at(self, stage: int) -> bool:
        """Whether a stage before decoder layer `stage` can have it."""
        return self.layer == stage


@dataclass(frozen=True)
class NoQuestionAttn(Attn):
    """A request for the attention of the last token of the prompt in a second forward pass without the question.

    There the last token stands right after the visual tokens. The pass runs from the first layer to `layer` and drops
    nothing.
    """

    queries: Literal["last"] = field(default="last", init=False)

    @property
    def extra_layers(self) -> int:
        """How many decoder layers run once more for it, in a forward pass of their own."""
        return self.layer + 1


@dataclass(frozen=True)
class Signal:
    """A request for what the vision encoder knew of every token. A token of several patches has their mean."""

    kind: Literal["cls", "received", "keys", "features"]
    """`cls`: attention of the frame's [CLS], mean over heads; an encoder without one (Qwen-VL) answers with `received`.
    `received`: the mean attention a patch gets from all patches it shares a window with, 1 being the average.
    `keys`: [n, D] keys, mean over heads.
    `features`: [n, C'] what the projector reads, a token's patches side by side (`layer` plays no part)."""
    layer: int = -2
    """The encoder layer; negative ones count from the last."""


@dataclass(frozen=True)
class Stage:
    """One place where visual tokens are dropped or merged: before decoder layer `layer` (0 = before the LLM)."""

    layer: int
    """The decoder layer before which it stands."""
    keep: Keep
    """Tokens to keep (int), or a share of the tokens the sample began with; None = the method decides."""
    hidden: tuple[int, ...] = ()
    """Depths at which `select` reads hidden states of the candidates (depth l = input of decoder layer l)."""
    text: tuple[int, ...] = ()
    """Depths at which it reads hidden states of the question."""
    keys: tuple[int, ...] = ()
    """Decoder layers whose keys it reads."""
    attention: tuple[Attn, ...] = ()
    """Attention that it reads."""
    signals: tuple[Signal, ...] = ()
    """What it reads of the vision encoder."""
    rerun: float | None = None
    """Share of the vision encoder's layers after which it runs the rest once more, on fewer tokens."""
    pixels: bool = False
    """Whether it encodes a smaller image."""
    at_most: bool = False
    """Whether the method may keep fewer tokens than `keep`."""

    @property
    def blind(self) -> bool:
        """Whether it reads nothing that depends on what follows the visual tokens."""
        return not (self.text or self.keys or self.attention)
