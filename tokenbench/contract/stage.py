"""What a stage is and what it may ask to see: the requests that the engine serves. Knows no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar, Literal

__all__ = ["Attn", "Keep", "NoQuestionAttn", "OwnLayerAttn", "Queries", "Signal", "Stage"]

Keep = int | float | Fraction | None
"""A number of tokens, a share of those that the sample began with, or None if the method decides."""

Queries = Literal["last", "null", "question", "question[:-1]"]
"""The tokens whose attention can be read; `Attn.queries` explains them."""


@dataclass(frozen=True)
class Attn:
    """A request for the attention of decoder layer `layer`, which is recorded when the prefill runs the layer.

    The layer must come before the stage's. Recording costs no further pass.
    """

    layer: int
    """The decoder layer whose attention is read."""
    queries: Queries = "last"
    """The tokens that attend: the `last` token of the prompt, all tokens of the `question` (those after the visual
    tokens), the question without its last token, or `null`, the first token after the visual tokens."""

    repeats_attention: ClassVar[bool] = False
    """Whether the attention of its layer is computed once more for it."""

    @property
    def extra_layers(self) -> int:
        """How many decoder layers run once more for this request, in a forward pass of their own."""
        return 0

    @property
    def in_prefill(self) -> bool:
        """Whether the prefill itself computes it, so that it is only recorded."""
        return not self.repeats_attention and not self.extra_layers

    def known_at(self, stage: int) -> bool:
        """Whether the attention is known before decoder layer `stage`."""
        return 0 <= self.layer < stage


@dataclass(frozen=True)
class OwnLayerAttn(Attn):
    """A request for the attention of the layer that the stage stands before, among the tokens that reach the stage.

    The attention of that layer runs once more: first for the stage, then for the tokens that it keeps.
    """

    repeats_attention: ClassVar[bool] = True
    """Whether the attention of its layer is computed once more for it."""

    def known_at(self, stage: int) -> bool:
        """Whether the attention is known before decoder layer `stage`: only before the request's own layer."""
        return self.layer == stage


@dataclass(frozen=True)
class NoQuestionAttn(Attn):
    """A request for the attention of the last token of the prompt in a second forward pass without the question.

    There the last token stands right after the visual tokens. The pass runs from the first layer to `layer` and drops
    nothing.
    """

    queries: Literal["last"] = field(default="last", init=False)
    """Always the last token of the prompt."""

    @property
    def extra_layers(self) -> int:
        """How many decoder layers run once more for this request, in a forward pass of their own."""
        return self.layer + 1


@dataclass(frozen=True)
class Signal:
    """A request for something that the vision encoder computed for every token.

    A token that consists of several patches has their mean.
    """

    kind: Literal["cls", "received", "keys", "features"]
    """`cls`: attention of the frame's [CLS], mean over heads; an encoder without one (Qwen-VL) answers with `received`.
    `received`: the mean attention a patch gets from all patches it shares a window with, 1 being the average.
    `keys`: [n, D] keys, mean over heads.
    `features`: [n, C'] what the projector reads, a token's patches side by side (`layer` plays no part)."""
    layer: int | float = -2
    """The encoder layer; negative ones count from the last. A float between 0 and 1 is a place between the first
    and the last layer, rounded."""

    def layer_of(self, count: int) -> int:
        """Return the number of the layer in an encoder of `count` layers."""
        return round(self.layer * (count - 1)) if isinstance(self.layer, float) else range(count)[self.layer]

    heads: Literal["mean", "joined"] = "mean"
    """`mean`: over the heads. `joined`: the heads side by side, as one head of the full width: keys are [n, heads * D],
    and `cls` and `received` are the attention of that one head."""


@dataclass(frozen=True)
class Stage:
    """One place where visual tokens are dropped or merged: before decoder layer `layer`.

    A stage states everything that the strategy reads there; nothing else is recorded.
    """

    layer: int
    """The decoder layer before which the stage acts. 0 is before the decoder, so that every layer computes only the
    kept tokens."""
    keep: Keep
    """How many tokens to keep: a number (int), a share of the tokens that the sample began with, or None if the method
    decides."""
    hidden: tuple[int, ...] = ()
    """Depths at which it reads hidden states of the candidates; depth l is the input of decoder layer l."""
    text: tuple[int, ...] = ()
    """Depths at which it reads hidden states of the tokens after the visual ones."""
    keys: tuple[int, ...] = ()
    """Decoder layers whose keys it reads, all before `layer`."""
    attention: tuple[Attn, ...] = ()
    """The attention that it reads."""
    signals: tuple[Signal, ...] = ()
    """What it reads from the vision encoder."""
    rerun: float | None = None
    """The share of the vision encoder's layers after which it runs the remaining layers again, on fewer tokens; None if
    it does not."""
    pixels: bool = False
    """Whether it encodes a smaller picture of each frame."""
    positions: bool = False
    """Whether it reads position ids."""
    lattice: bool = False
    """Whether it reads where tokens lie on the image. It is refused on a model that does not say."""
    question: bool = False
    """Whether it reads the user's own words, apart from the rest of the prompt."""
    phrases: Callable[[str], Sequence[str]] | None = None
    """What splits the user's own words into texts whose input embeddings it reads; None if it reads none."""
    at_most: bool = False
    """Whether the method may keep fewer tokens than `keep`."""

    @property
    def reads_encoder(self) -> bool:
        """Whether it reads anything of the vision encoder."""
        return bool(self.signals) or self.pixels or self.rerun is not None

    @property
    def reads_text(self) -> bool:
        """Whether it reads something of every token after the visual ones, so that their number matters."""
        asked = any(request.queries.startswith("question") for request in self.attention)
        return asked or self.positions or bool(self.text or self.keys)

    @property
    def blind(self) -> bool:
        """Whether it reads nothing that depends on the text after the visual tokens."""
        return not (self.text or self.keys or self.attention or self.question or self.phrases)
