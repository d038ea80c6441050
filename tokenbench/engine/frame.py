"""What the vision encoder computed of one frame, and a way to run its later layers again on fewer tokens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from tokenbench.contract.backbone import FrameLayout
from tokenbench.contract.stage import Signal
from tokenbench.engine.attention_tap import Attended, AttentionTap
from tokenbench.engine.encoder_run import EncoderRun, split_windows
from tokenbench.errors import InfeasibleError, UsageError

__all__ = ["Frame", "Rerun", "read_signals"]


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

    @property
    def tiles(self) -> Tensor | None:
        """[n] the number of the tile that each token lies in, where several make one lattice."""
        return self.layout.tiles

    @cached_property
    def _at(self) -> Tensor:
        """[n, patches] positions of its tokens in the encoder's sequence."""
        assert self.run.output is not None
        return self.layout.tokens.to(self.run.output.device) + self.start

    def signal(self, request: Signal) -> Tensor:
        """[n] or [n, D], float32: what a stage asked for."""
        self._check_readable()
        blank = self.layout.blank
        return self.run.read(request, self._at, None if blank is None else blank.to(self._at.device))

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
        patches, encoder = self.layout.tokens.shape[1], self.run.encoder
        blank = 0 if self.layout.blank is None else int(self.layout.blank.sum())
        positions = self.layout.positions - (self.tokens - blank - len(tokens)) * patches
        if self.layout.inputs > 1:  # one picture instead of several
            positions = int(encoder.cls) + len(tokens) * patches
        self.rerun_positions = [positions] * len(encoder.layers)
        return tokens

    def computed_positions(self) -> list[tuple[int, list[int]]]:
        """Of each input, its positions and how many of them every layer computed when the encoder ran on fewer last.

        A frame that was not run again was not needed at all. Several inputs are run again as one picture.
        """
        none = [0] * len(self.run.encoder.layers)
        each = self.layout.positions // self.layout.inputs
        return [(each, self.rerun_positions or none), *[(each, none)] * (self.layout.inputs - 1)]

    def cls_features(self) -> Tensor:
        """[C'], float32: the frame's own [CLS], as the projector would read it."""
        assert self.run.output is not None
        return self.run.output[self.start + self._cls_position()].flatten().float()

    def rerun(self, share: float, cls: bool = False) -> Rerun:
        """The frame after that share of the encoder's layers, for running the rest again; its [CLS] may be a token."""
        self._check_readable()
        if self.layout.blank is not None or self.layout.tiles is not None:
            raise InfeasibleError(
                "it runs the vision encoder again, which cannot be done for tiles and newlines in one lattice"
            )
        tokens = self.layout.tokens
        if cls:
            tokens = torch.cat([self._cls_position().view(1, 1).to(tokens.device), tokens])
        return Rerun(self, self.run.encoder.after(share), tokens)

    def _check_readable(self) -> None:
        if self.layout.unreadable:
            raise InfeasibleError(f"it reads the vision encoder{self.layout.unreadable}")

    def _cls_position(self) -> Tensor:
        """[1] position of the [CLS], which is no visual token."""
        taken = self.layout.tokens
        if self.layout.inputs > 1:
            raise InfeasibleError("it reads the [CLS] of the vision encoder, which has one for each tile of a picture")
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
            end = start + window.query.shape[2]
            products[start:end, start:end] = window.products(slice(None))[0].mean(0)
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


def read_signals(frames: Sequence[Sequence[Frame]], requests: Sequence[Signal]) -> dict[Signal, Tensor]:
    """What stages asked for of several rows of frames, which have n tokens each.

    Args:
        frames: [G] the frames of every row.
        requests: What is read of them.

    Returns:
        {request: [G, n] or [G, n, D]}, float32.
    """
    first = frames[0][0].run
    if any(frame.run is not first or frame.layout.unreadable for own in frames for frame in own):  # images and videos
        return {
            request: torch.stack([torch.cat([frame.signal(request) for frame in own]) for own in frames])
            for request in requests
        }
    assert first.output is not None
    shown = [frame for own in frames for frame in own]
    tokens = torch.cat([frame.layout.tokens for frame in shown])
    starts = torch.tensor([frame.start for frame in shown])
    starts = starts.repeat_interleave(torch.tensor([frame.tokens for frame in shown]))
    device, shape = first.output.device, (len(frames), -1)
    positions = (tokens + starts.unsqueeze(1)).to(device).unflatten(0, shape)
    blank = None
    if any(frame.layout.blank is not None for frame in shown):
        blank = torch.cat([_blank(frame.layout) for frame in shown]).to(device).unflatten(0, shape)
    return {request: first.read(request, positions, blank) for request in requests}


def _blank(layout: FrameLayout) -> Tensor:
    return torch.zeros(len(layout.tokens), dtype=torch.bool) if layout.blank is None else layout.blank


def _cut_argument(name: str, value: Any, positions: Tensor, total: int) -> Any:
    """A layer's argument for some of the sequence's `total` positions."""
    if name == "cu_seqlens":
        counts = torch.searchsorted(positions, value.to(positions.device))
        return counts.unique().to(value.dtype)
    if name == "max_seqlen":
        return None
    if name == "attention_mask" and isinstance(value, Tensor) and value.shape[-2:] == (total, total):
        return value[..., positions, :][..., positions]
    if isinstance(value, tuple):
        return tuple(_cut_argument("", part, positions, total) for part in value)
    if isinstance(value, Tensor):
        if len(value) != total:
            raise UsageError(f"the encoder's layers take an argument '{name}' that cannot be reduced to fewer tokens")
        return value[positions]
    return value
