"""CLSE: how a token's high-frequency energy evolves between two depths, times the attention it receives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from tokenbench import Attn, Budget, Grid, Keep, Stage, Strategy, View

__all__ = ["CLSE", "three_stages", "trims_cache"]

_LAYERS = {32: (1, 11, 21), 28: (1, 10, 19), 36: (1, 13, 24)}
# The released LLaVA code: tokens of 576, and the factors of other budgets.
_LLAVA, _LLAVA_VISUAL, _LLAVA_FACTORS = (
    {192: (330, 210, 62), 128: (220, 140, 41), 64: (110, 70, 20)},
    576,
    ("1.72", "1.09", "0.32"),
)
# The released Qwen2-VL code, for decoders of these depths: shares, and the factors of other shares.
_QWEN_DEPTHS = (28, 36)
_QWEN = {"0.334": (0.57, 0.36, 0.098), "0.223": (0.38, 0.24, 0.066), "0.112": (0.19, 0.12, 0.034)}
_QWEN_FACTORS = (1.71, 1.08, 0.294)


def stage_layers(depth: int) -> tuple[int, ...]:
    """CLSE's prune layers: published for 28, 32 and 36 decoder layers, at the same relative depths elsewhere."""
    layers = _LAYERS.get(depth, (1, round(0.36 * depth), round(0.67 * depth)))
    return tuple(sorted({min(max(layer, 1), depth - 1) for layer in layers}))


def stage_keeps(depth: int, budget: Budget) -> Sequence[int | Fraction]:
    """Tokens kept at the three stages, as the released code for a decoder of this depth has them."""
    return _stage_keeps_of_qwen(budget) if depth in _QWEN_DEPTHS else _stage_keeps_of_llava(budget)


def _stage_keeps_of_llava(budget: Budget) -> Sequence[int | Fraction]:
    """The published counts, for shares within a token of them, too; or the budget times LLaVA's factors."""
    if budget.share is None:
        published = _LLAVA.get(int(budget.keep))
        return published or [budget.scaled(factor) for factor in _LLAVA_FACTORS]
    nominal = budget.share * _LLAVA_VISUAL
    for tokens, kept in _LLAVA.items():
        if abs(tokens - nominal) < 1:
            return [Fraction(count, _LLAVA_VISUAL) for count in kept]
    return [budget.scaled(factor) for factor in _LLAVA_FACTORS]


def _stage_keeps_of_qwen(budget: Budget) -> Sequence[int]:
    """Shares of all tokens, rounded down in floating point as the released code does it: .57 of 100 are 56."""
    share = budget.fraction
    shares = _QWEN.get(f"{share:g}") or [share * factor for factor in _QWEN_FACTORS]
    return [max(1, int(budget.visual * share)) for share in shares]


def three_stages(depth: int, budget: Budget, layers: Sequence[int] = ()) -> list[tuple[int, Keep]]:
    """CLSE's schedule: (layer, keep) of every stage. A single layer keeps the budget itself."""
    at = tuple(layers) or stage_layers(depth)
    keeps = [budget.keep] if len(at) == 1 else stage_keeps(depth, budget)
    return list(zip(at, keeps, strict=False))


def trims_cache(kv: Literal["trim", "keep"] | None, depth: int) -> bool:
    """Whether dropped tokens leave earlier caches: as `kv` says, or as the released code for that depth does it."""
    return depth not in _QWEN_DEPTHS if kv is None else kv == "trim"


class CLSE(Strategy):
    """CLSE (Cross-Layer Spectral Evolution), as its released LLaVA code runs it.

    S_l: mean over channels of |IFFT(M * FFT(X_l))| on the h x w lattice, M = 1 - exp(-r^2 / 2 s^2) a Gaussian high-pass
    with s = cutoff * min(h//2, w//2). Evolution I = min(1, |S_K - S_ref| / (mean S_ref + S_ref + 1e-6)), K the first
    stage's layer. Score of the first stage: sigmoid(z(I) / temp) * A, A the last prompt token's attention at layer K-1,
    mean over heads; later stages: A alone. Tokens dropped also leave the KV cache of earlier layers.

    Schedule: before layers 1, 11, 21 of 32, keeping 330/210/62 tokens at "192" (which is a mean of 208.1 tokens a
    layer). The paper describes one stage and the evolution alone; the released code, followed here, ships three stages
    and the product. Its budgets are 192, 128 and 64, and shares within a token of them (1/3, 2/9, 1/9) are taken for
    them; others scale the schedule by (1.72, 1.09, 0.32), with which the released code stops.
    Decoders of 28 or 36 layers follow the released Qwen2-VL code: shares of 0.334, 0.223 and 0.112 keep
    0.57/0.36/0.098, 0.38/0.24/0.066 and 0.19/0.12/0.034 of the tokens, other budgets their share times
    (1.71, 1.08, 0.294), and the caches of earlier layers keep every token (kv=trim removes the dropped ones).
    score=evolution ranks by I alone: the gate saturates at 1 for many tokens, so that I decides where the gate ties.
    Several images, tiles or clips: each has its own lattice and statistics, then one ranking over all. A clip is
    transformed frame by frame; tokens without a place in the lattice (a frame's [CLS], LLaVA-NeXT's newlines) get its mean
    evolution.

    The released Video-LLaVA code runs one stage before layer 3 that keeps the budget and leaves the caches of earlier
    layers as they are: clse:layers=3:ref=2:kv=keep. It also takes the first t*h*w tokens for the lattice, although
    every frame has a [CLS] in front: the lattice slips by a token a frame, and the last t tokens are always kept.
    lattice=shifted does the same, those t tokens counted in the budget.

    fft=3d takes a clip as one volume: r over the three shifted axes, s = cutoff * (min(t, h, w)//2); an image is a clip
    of one frame, whose s is 0, and keeps the transform by rows and columns.

    Attention is read in float32; the spectral term is computed in float64, since the gate's slope of 1 / temp
    multiplies its rounding.
    """

    score_by: Literal["product", "evolution"] = Field(
        "product", alias="score", description="product = gate x attention"
    )
    temp: float = Field(0.1, gt=0, description="temperature of the gate")
    cutoff: float = Field(0.1, gt=0, description="width of the high-pass, as a share of half the lattice")
    ref: int = Field(0, ge=0, description="depth of the reference state")
    layers: tuple[int, ...] = Field((), description="prune before these decoder layers; default 1/11/21 of 32")
    kv: Literal["trim", "keep"] | None = Field(
        None, description="dropped tokens in the KV cache of earlier layers; default trim, keep if 28 or 36 layers"
    )
    lattice: Literal["own", "shifted"] = Field("own", description="shifted = [CLS] tokens counted as patches")
    fft: Literal["2d", "3d"] = Field("2d", description="3d = one transform over time, rows and columns of a clip")

    def trims(self, depth: int) -> bool:
        """Whether dropped tokens also leave the KV cache of earlier layers, as the parameter `kv` says."""
        return trims_cache(self.kv, depth)

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """The three published stages, or those before `layers`."""
        return three_stages(depth, budget, self.layers)

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Ask for the last token's attention at the layer before; the first stage also compares two depths.

        The hidden states at `ref` and at the stage's own layer give the evolution.
        """
        hidden = (self.ref, layer) if index == 0 else ()
        return Stage(layer, keep, hidden=hidden, attention=(Attn(layer - 1),), lattice=index == 0)

    def score(self, view: View) -> Tensor:
        """[n] gate times attention (or the evolution alone) in the first stage, attention alone in later ones."""
        (request,) = view.stage.attention
        attention = view.attention[request][:, 0].mean(0)
        if view.index > 0:
            return attention
        evolution = self.evolution(view)
        scores = evolution
        if self.score_by == "product":
            scores = _join([gate(evolution[at], self.temp) for _, at in view.items()]) * attention
        if self.lattice == "shifted":
            for grid, at in view.items():
                scores[at][_without_prefixes(grid).tokens :] = torch.inf
        return scores

    def evolution(self, view: View) -> Tensor:
        """[n] evolution I of every candidate, computed for each image or clip on its own."""
        before, after = view.hidden[self.ref], view.hidden[view.stage.layer]
        return _join([self._item(before[at], after[at], grid) for grid, at in view.items()])

    def _item(self, before: Tensor, after: Tensor, grid: Grid) -> Tensor:
        """[tokens] evolution of one image or clip, from its states [tokens, C] at both depths."""
        if self.lattice == "shifted":
            slipped = _without_prefixes(grid)
            shifted = self._item_of(before[: slipped.tokens], after[: slipped.tokens], slipped)
            return torch.cat([shifted, shifted.mean().expand(len(before) - slipped.tokens)])
        return self._item_of(before, after, grid)

    def _item_of(self, before: Tensor, after: Tensor, grid: Grid) -> Tensor:
        volume = self.fft == "3d" and grid.t > 1
        depths = patches(torch.stack([before, after]).double(), grid)
        s_ref, s_now = high_frequency(depths, self.cutoff, volume)
        evolution: Tensor = ((s_now - s_ref).abs() / (s_ref.mean() + s_ref + 1e-6)).clamp(max=1)
        if grid.tokens == evolution.numel():
            return evolution.flatten()
        everywhere = evolution.mean().expand(grid.tokens)
        return everywhere.index_copy(0, _patch_indices(grid, evolution.device), evolution.flatten())


def gate(evolution: Tensor, temp: float) -> Tensor:
    """[n] sigmoid of the z-scored evolution over `temp`; 1 where the evolution does not vary."""
    if len(evolution) < 2:
        return torch.ones_like(evolution)
    spread = evolution.std()
    gates = ((evolution - evolution.mean()) / spread / temp).sigmoid()
    return torch.where(spread > 0, gates, 1)  # no look at the number: on a GPU that would wait


def patches(states: Tensor, grid: Grid) -> Tensor:
    """[..., t, h, w, C] states of the patches of an item [..., tokens, C], without the tokens that have no place."""
    lead, frames = states.shape[:-2], states[..., : states.shape[-2] - grid.num_suffix_tokens, :]
    frames = frames.reshape(*lead, grid.t, -1, states.shape[-1])[..., grid.num_prefix_tokens :, :]
    rows = frames.reshape(*lead, grid.t, grid.h, grid.w + grid.row_end_tokens, -1)
    return rows[..., : grid.w, :]


@lru_cache(maxsize=64)
def _patch_indices(grid: Grid, device: torch.device) -> Tensor:
    """[t * h * w] indices of the tokens that have a place; made once, since a copy from the host waits for a GPU."""
    return torch.tensor(grid.patches(), device=device).flatten()


def _join(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _without_prefixes(grid: Grid) -> Grid:
    """The lattice as the released Video-LLaVA code has it."""
    return replace(grid, num_prefix_tokens=0)


def high_frequency(frames: Tensor, cutoff: float, volume: bool = False) -> Tensor:
    """Mean over channels of the magnitude that a high-pass filter lets through.

    Args:
        frames: [..., t, h, w, C] states of the patches of an image or clip.
        cutoff: Width of the high-pass, as a share of half the lattice.
        volume: Whether to transform all frames at once, as one volume, instead of each frame on its own.

    Returns:
        [..., t, h, w] strength of every patch.
    """
    axes = (-4, -3, -2) if volume else (-3, -2)
    shape = tuple(frames.shape[axis] for axis in axes)
    spectrum = torch.fft.rfftn(frames, dim=axes)  # of real numbers: half of it says all
    mask = high_pass(shape, cutoff, frames.device).to(frames.dtype).unsqueeze(-1)
    passed = torch.fft.irfftn(spectrum * mask[..., : shape[-1] // 2 + 1, :], s=shape, dim=axes)
    strength: Tensor = passed.abs().mean(-1)
    return strength


@lru_cache(maxsize=64)
def high_pass(shape: tuple[int, ...], cutoff: float, device: torch.device | None = None) -> Tensor:
    """[*shape] 1 - exp(-r^2 / 2 s^2), where r is the distance from the zero frequency, which comes first.

    It is zero everywhere if the lattice is so narrow that s is 0.
    """
    sigma = cutoff * (min(shape) // 2)
    if sigma == 0:
        return torch.zeros(shape, dtype=torch.float64, device=device)
    axes = [torch.fft.fftfreq(size, 1 / size, dtype=torch.float64, device=device) for size in shape]
    squares = sum(axis**2 for axis in torch.meshgrid(*axes, indexing="ij"))
    return 1 - torch.exp(-torch.as_tensor(squares) / (2 * sigma**2))
