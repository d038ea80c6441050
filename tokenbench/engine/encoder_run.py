"""What the vision encoder computed of all its inputs in one run, and the signals that strategies read of it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tokenbench.contract.backbone import Encoder
from tokenbench.contract.stage import Signal
from tokenbench.engine.attention_tap import Attended

__all__ = ["EncoderRun", "Windows", "average_products", "sort_windows"]

LARGEST = 2**26
"""Products of queries and keys that are computed at once, at most: 256 MiB."""


@dataclass(frozen=True)
class Windows:
    """Windows of one size: stretches of the encoder's sequence whose positions attend to each other."""

    starts: Sequence[int]
    """The first position of each of the W windows."""
    attended: Attended
    """Their queries and keys [W, H, size, D]."""

    @property
    def size(self) -> int:
        """How many positions attend to each other."""
        return int(self.attended.query.shape[2])

    @property
    def positions(self) -> list[int]:
        """[W * size] the positions, window by window."""
        return [position for start in self.starts for position in range(start, start + self.size)]

    def read(self, kind: str, heads: str) -> Tensor:
        """[W * size] or [W * size, D] a signal of every position."""
        attended = self.attended.join_heads() if heads == "joined" else self.attended
        if kind == "keys":
            return attended.key.float().mean(1).flatten(0, 1)
        if kind == "cls":  # attention of the first position, mean over heads
            return attended.products(slice(0, 1)).softmax(-1)[:, :, 0].mean(1).flatten()
        # The mean attention that each position gets, 1 being the average.
        received = [products.softmax(-1).mean((1, 2)) * self.size for products in _products(attended)]
        return _join_tensors(received).flatten()


@dataclass
class EncoderRun:
    """What was recorded of one run of the encoder over all its inputs, as one sequence of P positions."""

    encoder: Encoder
    """The encoder that ran."""
    windows: dict[int, list[Windows]]
    """{layer: its windows, by size}."""
    states: dict[int, Tensor]
    """{layer: [P, C] its input}."""
    arguments: dict[int, tuple[tuple[Any, ...], dict[str, Any]]]
    """{layer: what else it was called with}."""
    output: Tensor | None = None
    """[P, C] states that the projector reads."""
    _signals: dict[Signal, Tensor] = field(default_factory=dict)
    """Signals that were read, by request."""
    _bounds: dict[int, list[int]] = field(default_factory=dict)
    """Bounds of packed windows that the host has looked at, by the id of their tensor."""

    def signal(self, request: Signal) -> Tensor:
        """[P] or [P, D], float32: a signal other than the features of every position, read once."""
        if request not in self._signals:
            kind = "received" if request.kind == "cls" and not self.encoder.cls else request.kind
            windows = self.windows[request.layer_of(len(self.encoder.layers))]
            values = [own.read(kind, request.heads) for own in windows]
            if len(windows) > 1:
                order = torch.tensor([position for own in windows for position in own.positions])
                values = [torch.cat(values).index_select(0, order.argsort().to(values[0].device))]
            (self._signals[request],) = values
        return self._signals[request]

    def edges(self, layer: int, start: int, count: int) -> tuple[int, ...]:
        """Where the windows of a layer begin and end within `count` positions of the sequence from `start`."""
        given = self.arguments[layer][1].get("cu_seqlens")
        if given is None:
            return 0, count
        if id(given) not in self._bounds:
            self._bounds[id(given)] = sorted(set(given.tolist()))
        all_edges = self._bounds[id(given)]
        inner = all_edges[bisect_right(all_edges, start) : bisect_left(all_edges, start + count)]
        return 0, *(edge - start for edge in inner), count

    def read(self, request: Signal, positions: Tensor, blank: Tensor | None = None) -> Tensor:
        """[..., n] or [..., n, D], float32: what a stage asked for of tokens at positions [..., n, patches].

        Tokens that stand for no patch, blank [..., n], have no attention.
        """
        if request.kind == "features":
            assert self.output is not None
            return self.output[positions].flatten(-2).float()
        values = self.signal(request)[positions].mean(positions.ndim - 1)
        return values if blank is None or request.kind == "keys" else values.masked_fill(blank, 0)


def average_products(attended: Attended) -> Tensor:
    """[B, n, n] the products of all queries and keys, mean over heads."""
    return _join_tensors([products.mean(1) for products in _products(attended)])


def _split_windows(heard: Sequence[Attended], bounds: Tensor | None) -> list[Attended]:
    """The windows of one layer's attention, in order; those that were computed in one call stay together.

    Args:
        heard: What the layer's attention worked on, call by call.
        bounds: Cumulative lengths of the windows, if all of them came packed in one call.
    """
    if bounds is None or len(heard) > 1:
        return list(heard)
    (whole,) = heard
    sizes = bounds.diff().tolist()
    parts = zip(torch.split(whole.query, sizes, 2), torch.split(whole.key, sizes, 2), strict=True)
    return [Attended(query, key, whole.scaling) for query, key in parts]


def sort_windows(heard: Sequence[Attended], bounds: Tensor | None) -> list[Windows]:
    """The windows of one layer's attention, by size. The arguments are those of `_split_windows`."""
    found: dict[int, tuple[list[int], list[Attended]]] = {}
    start = 0
    for attended in _split_windows(heard, bounds):
        count, _, size, _ = attended.query.shape
        starts, parts = found.setdefault(size, ([], []))
        starts += range(start, start + count * size, size)
        parts.append(attended)
        start += count * size
    return [Windows(starts, _join(parts)) for starts, parts in found.values()]


def _products(attended: Attended) -> Iterator[Tensor]:
    """[b, H, n, n] products of all queries and keys, for a part of the batch each: all at once may be too large."""
    _, heads, size, _ = attended.query.shape
    each = max(1, LARGEST // (heads * size**2))
    for query, key in zip(torch.split(attended.query, each), torch.split(attended.key, each), strict=True):
        yield Attended(query, key, attended.scaling).products(slice(None))


def _join(parts: Sequence[Attended]) -> Attended:
    query, key = (_join_tensors(tensors) for tensors in ([p.query for p in parts], [p.key for p in parts]))
    return Attended(query, key, parts[0].scaling)


def _join_tensors(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts)) if len(parts) > 1 else parts[0]
