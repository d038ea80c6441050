"""What the vision encoder computed of one frame, and a way to run its later layers again on fewer tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from tokenbench.contract.backbone import Encoder, FrameLayout
from tokenbench.contract.strategy import Signal
from tokenbench.engine.probe import Attended, Probe
from tokenbench.errors import UsageError

__all__ = ["Call", "Frame", "Rerun", "Window"]


@dataclass(frozen=True)
class Window:
    """Attention among consecutive rows of the encoder's sequence, from row `start` on: query and key [H, rows, D]."""

    start: int
    attended: Attended

    @property
    def rows(self) -> int:
        """How many rows attend to each other."""
        return int(self.attended.query.shape[2])

    def received(self) -> Tensor:
        """[rows] mean attention each row gets, 1 being the average."""
        products = self.attended.products(0, slice(None))
        return products.softmax(-1).mean((0, 1)) * self.rows

    def from_first(self) -> Tensor:
        """[rows] attention of the first row, the [CLS], mean over heads."""
        return self.attended.products(0, slice(0, 1)).softmax(-1)[:, 0].mean(0)


@dataclass
class Call:
    """One run of the encoder over all it was given, as a sequence of rows.

    windows: {layer: windows in the order of the rows}. states: {layer: [R, C] its input}. arguments: {layer: what else it
    was called with}. output: [R, C] states the projector reads.
    """

    encoder: Encoder
    windows: dict[int, list[Window]]
    states: dict[int, Tensor]
    arguments: dict[int, tuple[tuple[Any, ...], dict[str, Any]]]
    output: Tensor | None = None


class Frame:
    """One image, tile or frame of a clip: a stretch of the encoder's rows that holds whole visual tokens.

    start: its first row. layout: where its tokens are among its rows. ran: the rows that every layer computed when a method last
    ran the encoder on fewer.
    """

    def __init__(self, call: Call, start: int, layout: FrameLayout) -> None:
        self.call = call
        self.start = start
        self.layout = layout
        self.ran: list[int] = []

    @property
    def tokens(self) -> int:
        """Visual tokens."""
        return len(self.layout.tokens)

    @cached_property
    def _at(self) -> Tensor:
        """[n, patches] rows of its tokens in the encoder's sequence."""
        assert self.call.output is not None
        return self.layout.tokens.to(self.call.output.device) + self.start

    def signal(self, request: Signal) -> Tensor:
        """[n] or [n, D], float32: what a stage asked for."""
        if request.kind == "features":
            assert self.call.output is not None
            return self.call.output[self._at].flatten(1).float()
        layer = range(len(self.call.encoder.layers))[request.layer]
        windows = [w for w in self.call.windows[layer] if self.start <= w.start < self.start + self.layout.rows]
        first = request.kind == "cls" and self.call.encoder.cls
        if request.kind == "keys":
            rows = torch.cat([w.attended.key[0].float().mean(0) for w in windows])
        else:
            rows = torch.cat([w.from_first() if first else w.received() for w in windows])
        return rows[self._at - self.start].mean(1)

    def project(self, features: Tensor) -> Tensor:
        """[m, C'] features through the projector: [m, C], in its dtype."""
        assert self.call.output is not None
        encoder = self.call.encoder
        states = features.unflatten(1, (self.layout.tokens.shape[1], -1)).to(self.call.output.dtype)
        with torch.no_grad():
            return encoder.project(states)

    def shrunk(self, h: int, w: int) -> Tensor:
        """[lead + h * w, C] projected tokens of the same frame, encoded from a smaller picture of h x w tokens."""
        with torch.no_grad():
            tokens = self.call.encoder.shrunk(self.layout.pixels, h, w)
        fewer = (self.tokens - len(tokens)) * self.layout.tokens.shape[1]
        self.ran = [self.layout.rows - fewer] * len(self.call.encoder.layers)
        return tokens

    def rerun(self, share: float) -> Rerun:
        """The frame after that share of the encoder's layers, for running the rest again."""
        return Rerun(self, self.call.encoder.after(share))


class Rerun:
    """A frame on its way through the later layers of the encoder once more, with ever fewer tokens.

    layer: the one that runs next. alive: [m] ordinals of the tokens that are left, within the frame. states: [m, patches, C].
    """

    def __init__(self, frame: Frame, layer: int) -> None:
        self.frame, self.layer = frame, layer
        self._call = frame.call
        frame.ran = [frame.layout.rows] * len(self._call.encoder.layers)
        inputs = self._call.states[layer][frame.start : frame.start + frame.layout.rows]
        self.alive = torch.arange(frame.tokens, device=inputs.device)
        self.states = inputs[frame.layout.tokens.to(inputs.device)]
        others = torch.ones(len(inputs), dtype=torch.bool, device=inputs.device)
        others[frame.layout.tokens.flatten().to(inputs.device)] = False
        self._other_rows = others.nonzero().flatten()  # an encoder's [CLS] that is no visual token
        self._others = inputs[self._other_rows]

    @property
    def remaining(self) -> int:
        """Layers left to run before the projector."""
        return self._call.encoder.depth - self.layer

    def step(self) -> Tensor:
        """Run the next layer. Returns [1 + m, m] the products of its queries and keys that attention is the softmax of,
        mean over heads and a token's patches, float32: of the frame's [CLS] (without one, the mean of all tokens), then of
        every token; -inf between tokens that share no window."""
        at = self.frame.layout.tokens.to(self.alive.device)[self.alive]
        rows, order = torch.cat([self._other_rows, at.flatten()]).sort()
        states = torch.cat([self._others, self.states.flatten(0, 1)])[order]
        self.frame.ran[self.layer :] = [len(rows)] * len(self.frame.ran[self.layer :])
        output, products = self._run(states, rows)
        back = output[order.argsort()]
        count = len(self._others)
        self._others, self.states = back[:count], back[count:].unflatten(0, self.states.shape[:2])
        self.layer += 1
        return self._by_token(products[order.argsort()][:, order.argsort()], count)

    def keep(self, keep: Tensor, states: Tensor) -> None:
        """Go on with the tokens keep [k], ascending, as states [k, patches, C]."""
        self.alive, self.states = self.alive[keep], states.to(self.states.dtype)

    def features(self) -> Tensor:
        """[m, C'] of the tokens that are left, as the projector reads them, float32."""
        return self.states.flatten(1).float()

    def _run(self, states: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """One layer on states [r, C] of the frame's rows [r]: its output, and the products [r, r]."""
        encoder, layer = self._call.encoder, self.layer
        assert self._call.output is not None
        fit = partial(_fitted, rows=rows + self.frame.start, total=len(self._call.output))
        args, kwargs = self._call.arguments[layer]
        arguments = {name: fit(name, value) for name, value in kwargs.items()}
        heard: list[Attended] = []
        batched = encoder.batched
        with Probe(encoder.tower, encoder.attentions) as probe, torch.no_grad():
            probe.listen(encoder.attentions[layer], heard.append)
            # Not called as a module: whoever listens to the encoder is not meant.
            output = encoder.layers[layer].forward(
                states[None] if batched else states, *(fit("", a) for a in args), **arguments
            )
        output = output[0] if batched else output
        products = torch.full((len(rows), len(rows)), -torch.inf, device=states.device)
        start = 0
        for window in windows(heard, arguments.get("cu_seqlens")):
            end = start + window.rows
            products[start:end, start:end] = window.attended.products(0, slice(None)).mean(0)
            start = end
        return output, products

    def _by_token(self, products: Tensor, others: int) -> Tensor:
        """[others + m * patches] squared, the [CLS] first -> [1 + m, m]."""
        m, patches = self.states.shape[:2]
        rows = products[:, others:].unflatten(1, (m, patches)).mean(2)
        tokens = rows[others:].unflatten(0, (m, patches)).mean(1)
        if others:
            first = rows[:1]
        elif self._call.encoder.cls:  # the [CLS] is itself a visual token
            first = tokens[:1]
        else:
            finite = tokens.isfinite()
            first = (tokens.masked_fill(~finite, 0).sum(0) / finite.sum(0))[None]
        return torch.cat([first, tokens])


def windows(heard: list[Attended], bounds: Tensor | None) -> list[Window]:
    """The windows of one layer's attention. bounds: cumulative lengths, where all windows came packed in one call."""
    if bounds is not None and len(heard) == 1:
        (whole,) = heard
        sizes = bounds.diff().tolist()
        parts = zip(whole.query.split(sizes, 2), whole.key.split(sizes, 2), strict=True)
        heard = [Attended(query, key, whole.scaling) for query, key in parts]
    found: list[Window] = []
    start = 0
    for attended in heard:
        for b in range(len(attended.query)):
            one = Attended(attended.query[b : b + 1], attended.key[b : b + 1], attended.scaling)
            found.append(Window(start, one))
            start += one.query.shape[2]
    return found


def _fitted(name: str, value: Any, rows: Tensor, total: int) -> Any:
    """A layer's argument for some of the sequence's `total` rows."""
    if name == "cu_seqlens":
        counts = torch.searchsorted(rows, value.to(rows.device))
        return counts.unique().to(value.dtype)
    if name == "max_seqlen":
        return None
    if isinstance(value, tuple):
        return tuple(_fitted("", part, rows, total) for part in value)
    if isinstance(value, Tensor):
        if len(value) != total:
            raise UsageError(f"the encoder's layers take an argument '{name}' that cannot be cut to fewer tokens")
        return value[rows]
    return value
