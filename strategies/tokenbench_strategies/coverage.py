"""Greedy covers: tokens that together are like all others."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["pick_cover"]


def pick_cover(values: Tensor, k: int, weight: Tensor | None = None) -> Tensor:
    """Indices [..., k], in order of choice, of columns each of which raises the rows' best values by most.

    Args:
        values: [..., m, n] how well column j covers row i.
        k: How many columns to choose.
        weight: [..., n] what the gain of a column is multiplied by, at least 0; None for 1.
    """
    cover, gains, chosen = torch.zeros_like(values[..., :1]), list[Tensor](), list[Tensor]()
    for _ in range(k):
        gain = (values - cover).clamp(min=0).sum(-2)
        # Of equal gains, this is the first. What was chosen gains nothing more.
        most, best = (gain if weight is None else weight * gain).max(-1, keepdim=True)
        cover = torch.maximum(cover, values.gather(-1, best.unsqueeze(-2).expand(*values.shape[:-1], 1)))
        gains.append(most)
        chosen.append(best)
    return _fill_up(torch.cat(chosen, -1), torch.cat(gains, -1), values.shape[-1])


def _fill_up(chosen: Tensor, gains: Tensor, n: int) -> Tensor:
    """The columns [..., k] of n that were chosen, with the first others in the place of those that gained nothing."""
    k = chosen.shape[-1]
    steps = torch.arange(n + 1, device=chosen.device)
    turn = (steps + k).expand(*chosen.shape[:-1], -1)
    turn = turn.scatter(-1, torch.where(gains > 0, chosen, n), steps[:k].expand_as(chosen))
    return turn[..., :n].argsort(dim=-1)[..., :k]
