"""What the vision encoder computed of one frame, and a way to run its later layers again on fewer tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from tokenbench.contract.backbone import Encoder, FrameLayout
from tokenbench.contract.stage import Signal
from tokenbench.engine.attention_tap import Attended, AttentionTap
from tokenbench.errors import InfeasibleError, UsageError

__all__ = ["EncoderRun", "Frame", "Rerun", "Window", "split_windows"]


@dataclass(frozen=True)
class Window:
    """Attention among consecutive positions of the encoder's sequence."""

    start: int
    """The first of these positions."""
    attended: Attended
    """Their queries and keys."""

    @property
    def size(self) -> int:
        """How many positions attend to each other."""
        return int(self.attended.query.shape[2])

    def received(self) -> Tensor:
        """[size] mean attention that each position gets, 1 being the average."""
        products = self.attended.products(0, slice(None))
        return products.softmax(-1).mean((0, 1)) * self.size

    def from_first(self) -> Tensor:
        """[size] attention of the first position, the [CLS], mean over heads."""
        return self.attended.products(0, slice(0, 1)).softmax(-1)[:, 0].mean(0)


@dataclass
class EncoderRun:
    """What was recorded of one run of the encoder over all its inputs, as one sequence of P positions."""

    encoder: Encoder
    """The encoder that ran."""
    windows: dict[int, list[Window]]
    """{layer: its windows in the order of the positions}."""
    states: dict[int, Tensor]
    """{layer: [P, C] its input}."""
    arguments: dict[int, tuple[tuple[Any, ...], dict[str, Any]]]
    """{layer: what else it was called with}."""
    output: Tensor | None = None
    """[P, C] states that the projector reads."""


class Frame:
    """One image, tile or video frame: a stretch of the encoder's sequence that holds whole visual tokens.

    Args:
        run: The run of the encoder that computed it.
        start: Its first position in the encoder's sequence.
        layout: Where its tokens are among its positions.
    """

    def __init__(self, run: EncoderRun, start: int, layout: FrameLayout) -> None:
        self.run = run
        self.start = start
        self.layout = layout
        self.rerun_positions: list[int] = []
        """How many positions every layer computed when a method last ran the encoder on fewer; empty if none did."""

    @property
    def tokens(self) -> int:
        """Visual tokens."""
        return len(self.layout.tokens)

    @cached_property
    def _at(self) -> Tensor:
        """[n, patches] positions of its tokens in the encoder's sequence."""
        assert self.run.output is not None
        return self.layout.tokens.to(self.run.output.device) + self.start

    def signal(self, request: Signal) -> Tensor:
        """[n] or [n, D], float32: what a stage asked for."""
        if request.kind == "features":
            assert self.run.output is not None
            return self.run.output[self._at].flatten(1).float()
        layer = request.layer_of(len(self.run.encoder.layers))
        windows = [w for w in self.run.windows[layer] if self.start <= w.start < self.start + self.layout.positions]
        if request.heads == "joined":
            windows = [Window(w.start, w.attended.join_heads()) for w in windows]
        first = request.kind == "cls" and self.run.encoder.cls
        if request.kind == "keys":
            signal = torch.cat([w.attended.key[0].float().mean(0) for w in windows])
        else:
            signal = torch.cat([w.from_first() if first else w.received() for w in windows])
        return signal[self._at - self.start].mean(1)

    def project(self, features: Tensor) -> Tensor:
        """[m, C'] features through the projector: [m, C], in its dtype."""
        assert self.run.output is not None
        encoder = self.run.encoder
        states = features.unflatten(1, (self.layout.tokens.shape[1], -1)).to(self.run.output.dtype)
        with torch.no_grad():
            return encoder.project(states)

    def encode_resized(self, h: int, w: int) -> Tensor:
        """[num_prefix_tokens + h * w, C] projected tokens of the frame, encoded from a picture of h x w tokens."""
        with torch.no_grad():
            tokens = self.run.encoder.encode_resized(self.layout.pixels, h, w)
        fewer = (self.tokens - len(tokens)) * self.layout.tokens.shape[1]
        self.rerun_positions = [self.layout.positions - fewer] * len(self.run.encoder.layers)
        return tokens

    def cls_features(self) -> Tensor:
        """[C'], float32: the frame's own [CLS], as the projector would read it."""
        assert self.run.output is not None
        return self.run.output[self.start + self._cls_position()].flatten().float()

    def rerun(self, share: float, cls: bool = False) -> Rerun:
        """The frame after that share of the encoder's layers, for running the rest again; its [CLS] may be a token."""
        tokens = self.layout.tokens
        if cls:
            tokens = torch.cat([self._cls_position().view(1, 1).to(tokens.device), tokens])
        return Rerun(self, self.run.encoder.after(share), tokens)

    def _cls_position(self) -> Tensor:
        """[1] position of the [CLS], which is no visual token."""
        taken = self.layout.tokens
        if not self.run.encoder.cls or taken.shape[1] != 1 or bool((taken == 0).any()):
            raise InfeasibleError("it reads the [CLS] of the vision encoder, which has none besides its visual tokens")
        return taken.new_zeros(1)


class Rerun:
    """A frame on its way through the later layers of the encoder once more, with ever fewer tokens.

    Args:
        frame: The frame.
        layer: The encoder layer that runs next.
        tokens: [n, patches] positions of the patches of every token.
    """

    def __init__(self, frame: Frame, layer: int, tokens: Tensor) -> None:
        self.frame, self.layer = frame, layer
        self._encoder_run = frame.run
        frame.rerun_positions = [frame.layout.positions] * len(self._encoder_run.encoder.layers)
        inputs = self._encoder_run.states[layer][frame.start : frame.start + frame.layout.positions]
        self._tokens = tokens.to(inputs.device)
        self.alive = torch.arange(len(tokens), device=inputs.device)
        """[m] ordinals of the tokens that are left, within the frame."""
        self.states = inputs[self._tokens]
        """[m, patches, C] their hidden states."""
        others = torch.ones(len(inputs), dtype=torch.bool, device=inputs.device)
        others[self._tokens.flatten()] = False
        self._other_positions = others.nonzero().flatten()  # an encoder's [CLS] that is no visual token
        self._others = inputs[self._other_positions]

    @property
    def remaining(self) -> int:
        """Layers left to run before the projector."""
        return self._encoder_run.encoder.depth - self.layer

    def step(self) -> Tensor:
        """Run the next layer and return the products [1 + m, m] of its queries and keys, before the softmax.

        They are the mean over heads and over a token's patches, float32: first of the frame's [CLS] (without one, the
        mean of all tokens), then of every token; -inf between tokens that share no window.
        """
        at = self._tokens[self.alive]
        positions, order = torch.cat([self._other_positions, at.flatten()]).sort()
        states = torch.cat([self._others, self.states.flatten(0, 1)])[order]
        computed = self.frame.rerun_positions
        computed[self.layer :] = [len(positions)] * len(computed[self.layer :])
        output, products = self._run_layer(states, positions)
        back = output[order.argsort()]
        count = len(self._others)
        self._others, self.states = back[:count], back[count:].unflatten(0, self.states.shape[:2])
        self.layer += 1
        return self._pool_patches(products[order.argsort()][:, order.argsort()], count)

    def keep(self, keep: Tensor, states: Tensor) -> None:
        """Go on with the tokens keep [k], in this order, as states [k, patches, C]."""
        self.alive, self.states = self.alive[keep], states.to(self.states.dtype)

    def features(self) -> Tensor:
        """[m, C'] of the tokens that are left, as the projector reads them, float32."""
        return self.states.flatten(1).float()

    def _run_layer(self, states: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """One layer on states [p, C] of the frame's positions [p]: its output, and the products [p, p]."""
        encoder, layer = self._encoder_run.encoder, self.layer
        assert self._encoder_run.output is not None
        fit = partial(_cut_argument, positions=positions + self.frame.start, total=len(self._encoder_run.output))
        args, kwargs = self._encoder_run.arguments[layer]
        arguments = {name: fit(name, value) for name, value in kwargs.items()}
        heard: list[Attended] = []
        batched = encoder.batched
        with AttentionTap(encoder.tower, encoder.attentions) as tap, torch.no_grad():
            tap.listen(encoder.attentions[layer], heard.append)
            # Not called as a module: whoever listens to the encoder is not meant.
            output = encoder.layers[layer].forward(
                states[None] if batched else states, *(fit("", a) for a in args), **arguments
            )
        output = output[0] if batched else output
        products = torch.full((len(positions), len(positions)), -torch.inf, device=states.device)
        start = 0
        for window in split_windows(heard, arguments.get("cu_seqlens")):
            end = start + window.size
            products[start:end, start:end] = window.attended.products(0, slice(None)).mean(0)
            start = end
        return output, products

    def _pool_patches(self, products: Tensor, others: int) -> Tensor:
        """[others + m * patches] squared, the [CLS] first -> [1 + m, m]."""
        m, patches = self.states.shape[:2]
        to_tokens = products[:, others:].unflatten(1, (m, patches)).mean(2)
        tokens = to_tokens[others:].unflatten(0, (m, patches)).mean(1)
        if others:
            first = to_tokens[:1]
        elif self._encoder_run.encoder.cls:  # the [CLS] is itself a token
            first = tokens[:1]
        else:
            finite = tokens.isfinite()
            first = (tokens.masked_fill(~finite, 0).sum(0) / finite.sum(0))[None]
        return torch.cat([first, tokens])


def split_windows(heard: list[Attended], bounds: Tensor | None) -> list[Window]:
    """The windows of one layer's attention.

    Args:
        heard: What the layer's attention worked on, call by call.
        bounds: Cumulative lengths of the windows, if all of them came packed in one call.
    """
    if bounds is not None and len(heard) == 1:
        (whole,) = heard
        sizes = bounds.diff().tolist()
        parts = zip(whole.query.split(sizes, 2), whole.key.split(sizes, 2), strict=True)
        heard = [Attended(query, key, whole.scaling) for query, key in parts]
    split: list[Window] = []
    start = 0
    for attended in heard:
        for b in range(len(attended.query)):
            one = Attended(attended.query[b : b + 1], attended.key[b : b + 1], attended.scaling)
            split.append(Window(start, one))
            start += one.query.shape[2]
    return split


def _cut_argument(name: str, value: Any, positions: Tensor, total: int) -> Any:
    """A layer's argument for some of the sequence's `total` positions."""
    if name == "cu_seqlens":
        counts = torch.searchsorted(positions, value.to(positions.device))
        return counts.unique().to(value.dtype)
    if name == "max_seqlen":
        return None
    if isinstance(value, tuple):
        return tuple(_cut_argument("", part, positions, total) for part in value)
    if isinstance(value, Tensor):
        if len(value) != total:
            raise UsageError(f"the encoder's layers take an argument '{name}' that cannot be reduced to fewer tokens")
        return value[positions]
    return value
