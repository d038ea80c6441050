"""What a stage sees of one sample: the candidates, and what the decoder and the vision encoder computed for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

from tokenbench.contract.lattice import Grid
from tokenbench.contract.stage import Attn, Signal, Stage

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["EncodedFrame", "EncoderRerun", "View"]


class EncoderRerun(Protocol):
    """A frame on its way through the later layers of the vision encoder a second time, with ever fewer tokens."""

    @property
    def alive(self) -> Tensor:
        """[m] ordinals, within the frame, of the tokens that are left."""

    @property
    def states(self) -> Tensor:
        """[m, patches, C] hidden states of these tokens."""

    @property
    def remaining(self) -> int:
        """How many layers are left to run before the projector."""

    def step(self) -> Tensor:
        """Run the next layer on the tokens that are left.

        Returns:
            [1 + m, m] products of the layer's queries and keys before the softmax, float32, as the mean over heads and
            over the patches of a token. The first row is the query of the frame's [CLS] (if it has none, the mean of
            all tokens' queries; if the [CLS] counts as a token, the first token's), then comes every token's. Products
            of tokens that share no attention window are -inf.
        """

    def keep(self, keep: Tensor, states: Tensor) -> None:
        """Continue with fewer tokens.

        Args:
            keep: [k] indices into the tokens that are left, in the order in which they go on.
            states: [k, patches, C] their hidden states, which may be new.
        """

    def features(self) -> Tensor:
        """Return the features [m, C'] of the tokens that are left, as the projector reads them, float32."""


class EncodedFrame(Protocol):
    """One image, tile or video frame, as the vision encoder computed it."""

    @property
    def tokens(self) -> int:
        """How many visual tokens the frame has."""

    @property
    def tiles(self) -> Tensor | None:
        """[n] the number of the tile that each token lies in, where the frame is one lattice of several tiles."""

    def signal(self, request: Signal) -> Tensor:
        """Return a signal that the stage asked for: [n] or [n, D], float32."""

    def project(self, features: Tensor) -> Tensor:
        """Run the model's projector on features [m, C'] and return [m, C]."""

    def encode_resized(self, h: int, w: int) -> Tensor:
        """Encode the frame again from a smaller picture.

        Args:
            h: Rows of tokens that the picture has.
            w: Tokens in a row.

        Returns:
            [num_prefix_tokens + h * w, C] projected tokens.
        """

    def cls_features(self) -> Tensor:
        """Return the features [C'] of the frame's own [CLS], as the projector would read them, float32.

        Raises:
            InfeasibleError: If the encoder has no [CLS] besides its visual tokens.
        """

    def rerun(self, share: float, cls: bool = False) -> EncoderRerun:
        """Return the frame as it was after a share of the encoder's layers, for running the rest again.

        Args:
            share: The share of the layers, between 0 and 1.
            cls: Whether the frame's own [CLS] counts as one of the tokens: as the first, with ordinal 0, so that the
                ordinals of visual tokens begin at 1.

        Raises:
            InfeasibleError: If `cls` is asked of an encoder that has no [CLS] besides its visual tokens.
        """


@dataclass
class View:
    """What one stage sees of ONE sample: the n candidates that are left, and everything that the stage asked for.

    C is the width of the decoder's hidden states and D that of a layer's keys, all heads together. Whatever the stage
    did not ask for is absent.
    """

    n0: int
    """The number of visual tokens that the sample began with."""
    alive: Tensor
    """[n] ordinals of the candidates among the original visual tokens, in the order of the sequence."""
    grids: tuple[Grid, ...]
    """The lattice of every image or video of the sample, in order. Their tokens add up to `n0`."""
    stage: Stage
    """The stage that is acting."""
    index: int
    """The stage's number in the schedule, from 0."""
    k: int
    """How many tokens to keep."""
    hidden: dict[int, Tensor]
    """{depth: [n, C]} hidden states of the candidates; depth l is the input of decoder layer l."""
    text: dict[int, Tensor]
    """{depth: [m, C]} hidden states of the m tokens after the visual ones."""
    keys: dict[int, Tensor]
    """{layer: [n, D]} keys of the candidates as attention uses them, after the position embedding."""
    text_keys: dict[int, Tensor]
    """{layer: [m, D]} keys of the m tokens after the visual ones."""
    attention: dict[Attn, Tensor]
    """{request: [heads, queries, n]} attention weights on the candidates, float32. The softmax runs over everything
    that the query may see, so that the weights of the candidates add up to less than 1."""
    signals: dict[Signal, Tensor]
    """{request: [n] or [n, D]} what the vision encoder computed for the candidates, float32."""
    frames: Sequence[EncodedFrame]
    """The encoded frames, in order; only for stages that ask for signals, a rerun or pixels."""
    positions: Tensor
    """[axes, n] position ids of the candidates, if the stage asks for positions; M-RoPE has three axes."""
    text_positions: Tensor
    """[axes, m] position ids of the m tokens after the visual ones, if the stage asks for positions."""
    rotary: Callable[[Tensor], tuple[Tensor, Tensor]]
    """The decoder's rotary embedding, from position ids [axes, n] to their cosines and sines, [n, D] each, or
    [axes, n, D] where attention itself joins the axes; float32."""
    norm: Callable[[Tensor], Tensor]
    """The decoder's final norm, [.., C] -> [.., C]."""
    question: str
    """The user's own words, without the marks of images and the template of the prompt; empty if nobody passed them."""
    embed: Callable[[Sequence[str]], Tensor]
    """Tokenises texts, each by itself and without special tokens, and returns the decoder's input embeddings [m, C] of
    all their tokens in a row. It works only if `question` is not empty."""
    generator: torch.Generator
    """The sample's own random numbers, seeded by the run's seed and the sample's key. Strategies must draw from nothing
    else."""
    phrases: Tensor | None = None
    """[p, C] input embeddings of the p tokens of the stage's `phrases`, each tokenised by itself and without special
    tokens; None if nobody passed the user's words."""
    phrase_words: Tensor | None = None
    """[p] False where `phrases` are padding, as `words`."""
    words: Tensor | None = None
    """[m] False where `text`, `text_keys`, `text_positions` and the attention of the `question` are padding, which is 0 and
    comes first. None if there is none: a sample that is selected alone has no padding, and others have it only for a
    strategy that declares `heeds_padding`."""
    generators: Sequence[torch.Generator] = ()
    """If samples are stacked (`Strategy.batching`), the random numbers of each sample; `draw` reads them."""
    memo: dict[str, Any] = field(default_factory=dict)
    """An empty dictionary at the first stage, carried from stage to stage of the sample, for whatever the method wants
    to remember. Samples that chose alike so far may share its values, which are to be replaced, not changed."""

    @property
    def n(self) -> int:
        """The number of candidates."""
        return self.alive.shape[-1]

    def draw(self) -> Tensor:
        """Return uniform random numbers [n] of the sample's own `generator`, on the device of the candidates."""
        own = self.generators or (self.generator,)
        drawn = self.alive.new_empty((len(own), self.n), device=self.generator.device).float()
        for row, generator in zip(drawn, own, strict=True):
            row.uniform_(generator=generator)
        drawn = drawn.to(self.alive.device)
        return drawn if self.generators else drawn[0]

    def mean_over_text(self, values: Tensor, dim: int | tuple[int, ...]) -> Tensor:
        """Return the mean over the text, without padding.

        Args:
            values: What is 0 at padding.
            dim: The dimensions over which the mean runs. The last of them is that of the text or of its queries.
        """
        if self.words is None:
            return values.mean(dim)
        *others, text = (dim,) if isinstance(dim, int) else dim
        count = self.words[..., : values.shape[text]].sum(-1, keepdim=True)
        return values.sum(dim) / (count * prod(values.shape[one] for one in others))

    def items(self) -> Iterator[tuple[Grid, slice]]:
        """Iterate over the images and videos.

        It works in the first stage only, since later ones have no whole lattices left.

        Yields:
            The lattice of each image or video, and the slice of the candidates that it holds.

        Raises:
            ValueError: If tokens have been dropped before.
        """
        if self.n != self.n0:
            raise ValueError(
                "items() works in the first stage only: after tokens have been dropped, no whole lattice is left"
            )
        start = 0
        for grid in self.grids:
            yield grid, slice(start, start + grid.tokens)
            start += grid.tokens

    def lattices(self) -> Iterator[tuple[Grid, slice]]:
        """Iterate over the frames, as `items` does over images and videos.

        Yields:
            The lattice of each frame, with t = 1, and the slice of the candidates that it holds.
        """
        for grid, item in self.items():
            start = item.start
            for frame in grid.frames:
                yield frame, slice(start, start + frame.tokens)
                start += frame.tokens

    def clips(self) -> Iterator[list[slice]]:
        """Iterate over the images and videos as their frames, wherever a video consists of several lattices.

        Yields:
            The slices of the candidates that hold the frames of one image or video, by time; one slice for an image.
        """
        lattices, frames, item = self.lattices(), list[slice](), None
        for grid in self.grids:
            if frames and (item is None or grid.item != item):
                yield frames
                frames = []
            frames += [at for _, at in islice(lattices, grid.t)]
            item = grid.item
        if frames:
            yield frames

    def project(self, features: Tensor) -> Tensor:
        """Run the model's projector on features [m, C'], as the signal `features` has them, and return [m, C]."""
        return self.frames[0].project(features)
